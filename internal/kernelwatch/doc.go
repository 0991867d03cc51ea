// Package kernelwatch watches what the kernels of the host and of guests log during a run, and
// judges it by rules.
//
// A [Watch] is the engine's [flow.Watcher]: the messages that came during a phase are in files in
// the folder of that phase, and those that the rules call a warning or a failure are findings of
// it.
package kernelwatch
