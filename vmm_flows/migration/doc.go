// Package migration is the Python tool's test_migration.py. Its flows save and restore machines
// with VFs, at work and idle.
//
// Most classes are a line in a table. To add one, add a line: busy.go has the machines that work,
// double.go the machines that are saved again while they recover. checkpoint.go, idle.go and
// pause.go have the other classes.
package migration
