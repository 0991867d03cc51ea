// Package progress shows people what takes a while.
package progress
