// Package resources holds the files that vmtb's own flows come with, embedded in the binary: descriptors of
// workloads for gem_wsim by model of GPU (wsim/<model>/<name>.wsim). The vGPU profiles are in bench/xe/vgpu.
package resources
