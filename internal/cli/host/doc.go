// Package host has the commands about this machine as a whole. "vmtb doctor" checks that this
// machine can run flows, and "vmtb recover" restores the host after a run that died.
package host
