// Package pick finds what a user means: the GPU of a configuration, a VF that is named by number or
// address, the guest image. It also tells who uses a VF. It changes nothing.
package pick
