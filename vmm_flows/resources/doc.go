// Package resources holds the files that vmtb's own flows come with: the vGPU profiles of the GPUs that it knows
// (vgpu_profiles/*.json, in the Python tool's format), embedded in the binary.
package resources
