// Package run is the commands about runs: run, resume, list and report. Each is a file: its
// options, and run with what it does. What "vmtb lab run" needs, too, is in package
// vmtb/internal/cli/flows.
package run
