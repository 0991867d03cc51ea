// Package profiles holds the vGPU profile files of the GPUs that vmtb knows, embedded in the binary, in the Python tool's
// format. [vmtb/bench/xe.LoadModel] reads them.
package profiles
