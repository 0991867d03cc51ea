// Package warm has machines go on from the state of one like them that has booted, instead of
// booting themselves.
//
// The first machine of a shape boots without VFs, and its state is kept: its memory, and what it
// has written to its disks. Others start from there, get their VFs by hot-plug before their guests
// go on, and so have them probed freshly.
package warm
