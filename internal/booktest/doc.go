// Package booktest finds the commands that the book shows, for tests that try them: the README,
// docs and the examples' READMEs.
package booktest
