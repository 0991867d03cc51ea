// Package migration is the Python tool's test_migration.py: machines with VFs are saved and restored, at work and idle.
//
// Nearly all of its classes are data over a few shapes. To add a class of a shape is to add a line:
// busy.go has machines that work, double.go those that are saved again while they recover.
// checkpoint.go, idle.go and pause.go have the others.
package migration
