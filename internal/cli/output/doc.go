// Package output has the types that commands print as JSON for programs. These types are an
// interface: package docs lists all fields of [Version] on a page, and a test compares them with
// the types here.
package output
