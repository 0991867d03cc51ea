// Package state holds the flows of vm_state, which are vmtb's own: a machine with a VF is paused,
// saved, restored and moved, and the VF's driver in the guest, the guest's processes and what the
// VF was given go on as before.
package state
