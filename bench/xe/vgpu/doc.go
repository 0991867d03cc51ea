// Package vgpu describes how a GPU is divided among its VFs, before anything is written to the
// kernel.
//
// A [Plan] is the division: how many VFs, the resources of each, and how they share GPU time.
// [Auto] makes a plan that leaves the division to the kernel. [LoadModel] reads the vGPU profile
// file of a GPU model, in the format of the Python tool, and [Model.Plan] makes a plan from it.
// [Files] has the profile files that are built into vmtb.
//
// The package reads profile files, but no files of the kernel. Package [vmtb/bench/xe] applies
// plans. The formulas in profile files are Python lambdas, which Starlark evaluates.
package vgpu
