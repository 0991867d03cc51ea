// Package basic is the Python tool's test_basic.py: machines with VFs start, their driver works, they go away again.
package basic
