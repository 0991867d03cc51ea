// Package progress shows the progress of long operations to users.
package progress
