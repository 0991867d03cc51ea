// Package lab is the emulated machine under test: a QEMU machine with an emulated SR-IOV device, an IOMMU and
// nested virtualization, in which all of vmtb runs for real where there is no GPU.
//
// [BuildImages] makes its images with package imagebuild, from Debian packages, the emulated GPU of lab/gpu,
// the stand-in kernel modules of lab/kmod and the stand-in workloads of lab/workload. [Start] starts the
// DUT, a machine of bench/vm like any other, from the state of one that has booted where it can.
// [DUT.Run] runs a vmtb inside the DUT. The run directory is on this machine from its first byte on, so
// that a DUT that dies takes nothing with it.
//
// Everything that stands in for real hardware says so: see lab/kmod/README.md.
package lab
