// Package resources holds the files that vmtb's own flows come with, embedded in the binary: the vGPU profiles of the
// GPUs that it knows (vgpu_profiles/*.json, in the Python tool's format), and descriptors of workloads for gem_wsim by
// model of GPU (wsim/<model>/<name>.wsim).
package resources
