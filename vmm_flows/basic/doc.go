// Package basic is the Python tool's test_basic.py: machines with VFs start, work, share the GPU, and load and unload
// their driver beside each other. There is a file for each class; setup.go has the smallest.
package basic
