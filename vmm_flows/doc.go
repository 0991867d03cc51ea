// Package vmm_flows holds the VMM Flows: functional tests of machines with virtual GPUs. There is a
// package for each file of the Python tool (basic is "test_basic"). Package fixture has the shared
// fixtures, package resources the files that flows use. [Register] adds all flows.
//
// Package basic is the smallest: start from it to write a new flow.
package vmm_flows
