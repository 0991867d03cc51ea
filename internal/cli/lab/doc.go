// Package lab has the commands "vmtb lab": runs, commands and shells in the emulated machine under
// test. Each command is a file with its options and a method run. The machine itself is package
// vmtb/lab.
package lab
