// Package vf is "vmtb vf": look at the VFs of a GPU, and set them up for virtual machines. Each
// command is a file: its options, and run with what it does. What the commands change stays, and is
// in one journal: see [session].
package vf
