// Package lab is the emulated machine under test (DUT). It is a QEMU machine with an emulated
// SR-IOV device, an IOMMU and nested virtualization. All of vmtb runs in it, on machines without a
// GPU.
//
// [BuildImages] builds its images with package imagebuild, from Debian packages, the emulated GPU
// of lab/gpu, the stand-in kernel modules of lab/kmod and the stand-in workloads of lab/workload.
// [Start] starts the DUT, which is a machine of bench/vm. If it can, it starts the DUT from the
// saved state of a booted one. [DUT.Run] runs a vmtb inside the DUT. The run directory is on this
// machine from its first byte on, so nothing is lost if the DUT dies.
//
// All parts that replace real hardware say so: see lab/kmod/README.md.
package lab
