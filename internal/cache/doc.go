// Package cache caches results that are expensive to build: images, and saved states of booted
// machines. Any number of processes may use one cache at a time, and may be killed at any moment.
package cache
