// Package guestkernel makes the files for guests that boot another kernel than that of their image.
package guestkernel
