// Package ansi removes terminal control sequences from text.
package ansi
