// Package vf has the commands "vmtb vf": show the VFs of a GPU, and prepare them for virtual
// machines. Each command is a file with its options and a method run. The changes of the commands
// last, and are recorded in one journal: see [session].
package vf
