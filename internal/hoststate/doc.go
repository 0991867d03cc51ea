// Package hoststate is vmtb's state of this host between commands. It has the run that uses the
// host, dead runs that left it changed, the changes made by "vmtb vf", and the living machines and
// labs.
//
// The state is files below one directory, a [State]. The package reads and opens them. Commands
// decide what to undo, and how to show it.
package hoststate
