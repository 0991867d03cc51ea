// Package lab is the emulated machine under test (DUT). It is a QEMU machine with an emulated
// SR-IOV GPU, an IOMMU and nested virtualization. All of vmtb runs in it, on machines without a
// GPU.
//
// [BuildImages] builds its images with package imagebuild, from Debian packages and the emulated GPU
// of lab/gpu. [Start] starts the DUT, which is a machine of bench/vm. If it can, it starts the DUT
// from the saved state of a booted one. [DUT.Vmtb] runs a vmtb inside the DUT. The run directory is
// on this machine from its first byte on, so nothing is lost if the DUT dies.
package lab
