// Package ansi removes the control sequences of terminals from text.
package ansi
