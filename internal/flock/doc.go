// Package flock locks open files with flock(2). The kernel releases such a lock when the last
// descriptor of the open file is closed, so also when its process dies. The package tells a lock
// that somebody else holds from a file system that cannot lock.
package flock
