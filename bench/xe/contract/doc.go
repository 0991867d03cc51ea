// Package contract is the table of the promises that the Linux xe driver makes to user space about
// SR-IOV, rule by rule.
//
// A [Rule] is mostly data: [Step]s that write a value, and give the errno of the refusal or the
// text that reads back afterwards. Rules that need more are functions (Check). One table serves
// three purposes. It runs against the fake host of internal/fake/fakehost in unit tests. It runs
// against a kernel as the flow xe_contract (in the lab, on hardware). It is printed as
// docs/xe-contract.md. So the fake, the lab's modules and the documentation cannot drift apart.
//
//	p, err := contract.NewProbe(sys, journal, "0000:03:00.0")
//	for _, s := range contract.Sections() {
//		for _, r := range s.Rules {
//			if reason := p.Unmet(r); reason == "" { err := r.Run(ctx, p) ... }
//		}
//	}
//
// Every rule starts from the same state, and [Probe.Restore] returns to it: no VFs, automatic mode,
// driver probing of VFs off, no other settings.
//
// # Notation of files
//
//	P/   the PF in /sys/bus/pci/devices       A/  its sriov_admin
//	V1/  VF1 there, V2/ VF2                   D/  the PF in /sys/kernel/debug/dri, D1/ VF1
//	T/vf1/ggtt_quota      a file of VF1 of the tile, in debugfs; T/pf/ of the PF
//	G/vf1/contexts_quota  a file of VF1 of each GT, all of them in turn; G0/ of the first (main) GT, G1/ of the second
//	D1/gt*/vf/self_config a file of VF1's own driver, of each GT
//
// T and G hide that debugfs has two layouts. Since Linux 6.19 it is sriov/{pf,vfM}/tileT/[gtG/].
// Before, it was gtG/{pf,vfM}, with the name lmem for VRAM. In values, {PF}, {VF1} and {VF2} stand
// for addresses, and {TOTAL} and {TOTAL+1} for numbers of VFs.
package contract
