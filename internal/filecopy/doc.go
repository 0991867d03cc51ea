// Package filecopy copies a file, by the kernel where that can do it.
package filecopy
