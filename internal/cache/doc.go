// Package cache keeps what is expensive to make: images, states of machines that have booted. Any number of processes
// use one cache at a time, and may be killed at any moment.
package cache
