// Package output has the types that commands print as JSON, for programs. What programs read must
// not change under them: package docs has all fields of [Version] in a page, which a test compares
// with the types here.
package output
