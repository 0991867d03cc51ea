// Package robust has flows of our own about what happens to VFs and their machines beside plain
// work: resets, killed machines, drivers that come and go, sleep, all VFs at once. There is a file
// for each kind.
package robust
