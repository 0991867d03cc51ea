// Package pick finds the objects that a user names: the GPU of a configuration, a VF by number or
// address, the guest image. It also finds the process that uses a VF. It changes nothing.
package pick
