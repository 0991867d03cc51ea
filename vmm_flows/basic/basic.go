package basic

import "vmtb/flow"

const file = "test_basic"

// Register adds the flows of test_basic.
func Register(r *flow.Registry) {
	addVMSetup(r)
	addVMWorkload(r)
	addDriverLoadRemove(r)
}
