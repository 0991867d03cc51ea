package bench

// LabProduct is the product name in the firmware of the lab's machine under test. With an emulated
// GPU, LabGPU and the GPU's name follow it.
const (
	LabProduct = "vmtb lab (emulated)"
	LabGPU     = ", GPU "
)
