// Package basic is the Python tool's test_basic.py. Its flows start machines with VFs, run
// workloads, share the GPU, and load and unload the driver of one machine while another works.
// There is a file for each class; setup.go has the smallest.
package basic
