// Package vgpu describes how a GPU is divided among its VFs, before anything is written to the
// kernel.
//
// A [Plan] is the division: how many VFs, what each of them holds, how they share GPU time. [Auto]
// makes a plan that leaves the division to the kernel. [LoadModel] reads the vGPU profile file of a
// GPU model, in the format of the Python tool, and [Model.Plan] takes a plan from it. [Files] has
// the profile files that are built into vmtb.
//
// The package does no I/O but for reading profile files, and knows no file of the kernel. Package
// [vmtb/bench/xe] applies plans. The formulas of profile files are Python lambdas: Starlark
// evaluates them.
package vgpu
