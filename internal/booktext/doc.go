// Package booktext renders the book's Markdown as plain text for a terminal.
package booktext
