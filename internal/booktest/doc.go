// Package booktest finds the commands in the book, for tests that try them. The book is the README,
// docs and the examples' READMEs.
package booktest
