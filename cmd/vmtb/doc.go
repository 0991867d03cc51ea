// Command vmtb is the VM test bench for SR-IOV GPUs, with the flows of this repository.
//
// It is [vmtb.Main] with the registrar of package vmm_flows, and nothing else: a program of the
// same few lines with another registrar is a vmtb with other flows.
package main
