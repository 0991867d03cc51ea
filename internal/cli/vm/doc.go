// Package vm is "vmtb vm": virtual machines that outlive the command which starts them. Each
// command is a file: its options, and run with what it does. What a machine does while no command
// runs is in package vmtb/bench/keep.
package vm
