// Package reporttest helps to test reports. It has handmade runs ([Tape], [Samples]). It also has
// readers that check reports against the rules of the programs that read them.
package reporttest
