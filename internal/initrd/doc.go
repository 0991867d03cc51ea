// Package initrd boots a guest with another kernel than that of its disk image.
//
// [Write] makes the initial RAM disk, with the kernel's modules. vmtb itself is the init program in it:
// [Run] loads the drivers of disks, finds the guest's root file system, puts the modules into its
// /lib/modules, and starts the guest's own init program.
package initrd
