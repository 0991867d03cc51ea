// Package lab is "vmtb lab": runs, commands and shells in the emulated machine under test. Each
// command is a file: its options, and run with what it does. The machine itself is package
// vmtb/lab.
package lab
