// Package state holds the flows of vm_state, which the Python tool does not have. They pause, save,
// restore and move a machine with a VF. The VF's driver, the guest's processes and the resources of
// the VF must stay the same.
package state
