// Package filecopy copies a file. The kernel does the copying if it can.
package filecopy
