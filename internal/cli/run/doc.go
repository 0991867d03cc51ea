// Package run has the commands about runs: run, resume, list and report. Each command is a file
// with its options and a method run. Code that "vmtb lab run" also needs is in package
// vmtb/internal/cli/flows.
package run
