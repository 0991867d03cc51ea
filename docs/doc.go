// Package docs is the book, which "vmtb help" shows.
package docs

import "embed"

// Files are the chapters, and README.md, which lists them.
//
//go:embed *.md
var Files embed.FS
