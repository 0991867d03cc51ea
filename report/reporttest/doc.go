// Package reporttest helps to test reports. It has runs made by hand ([Tape], [Samples]), and
// readers that hold reports against the rules of the programs that read them.
package reporttest
