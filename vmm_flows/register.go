package vmm_flows

import (
	"vmtb/flow"
	"vmtb/vmm_flows/basic"
	"vmtb/vmm_flows/contract"
	"vmtb/vmm_flows/migration"
	"vmtb/vmm_flows/provisioning"
	"vmtb/vmm_flows/robust"
	"vmtb/vmm_flows/state"
)

// Register adds every flow of this repository.
func Register(r *flow.Registry) {
	basic.Register(r)
	migration.Register(r)
	contract.Register(r)
	provisioning.Register(r)
	state.Register(r)
	robust.Register(r)
}
