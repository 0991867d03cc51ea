// Package resources embeds the files of vmtb's own flows in the binary: workload descriptors for
// gem_wsim by GPU model (wsim/<model>/<name>.wsim). The vGPU profiles are in bench/xe/vgpu.
package resources
