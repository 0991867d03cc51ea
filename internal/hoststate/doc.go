// Package hoststate is what vmtb remembers about this host between commands: which run uses the
// host, which runs died and left it changed, what "vmtb vf" has changed, and which machines and
// labs are up.
//
// All of it is files below one directory, a [State]. The package reads and opens them; what is
// undone, and how that is shown, is the business of commands.
package hoststate
