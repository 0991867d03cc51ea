// Package reporttest holds reports against the rules of those who read them.
package reporttest
