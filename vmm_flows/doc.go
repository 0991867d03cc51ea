// Package vmm_flows holds the VMM Flows: functional tests of machines with virtual GPUs. There is a package for each
// file of the Python tool (basic is "test_basic"), fixtures that they share (fixture), and the files they use
// (resources). [Register] adds them all.
//
// A new flow starts from package basic, which is the smallest.
package vmm_flows
