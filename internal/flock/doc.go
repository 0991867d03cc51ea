// Package flock locks open files with flock(2). The kernel releases such a lock when the last
// descriptor of the open file is closed, and so also when its process dies. The package
// distinguishes a lock held by somebody else from a file system without locks.
package flock
