package bench

// LabProduct is what the firmware of the lab's machine under test calls it. LabGPU and the GPU's
// name follow if that is emulated.
const (
	LabProduct = "vmtb lab (emulated)"
	LabGPU     = ", GPU "
)
