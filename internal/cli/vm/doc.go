// Package vm has the commands "vmtb vm": virtual machines that outlive the command that starts
// them. Each command is a file with its options and a method run. Between commands, package
// vmtb/bench/keep runs a machine.
package vm
