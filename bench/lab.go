package bench

// LabProduct begins the product name in the firmware of the lab's machine under test. The name of
// the emulated GPU follows it.
const LabProduct = "vmtb lab (emulated)"
