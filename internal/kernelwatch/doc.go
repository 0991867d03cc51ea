// Package kernelwatch watches the kernel logs of the host and of guests during a run, and judges
// the messages by rules.
//
// A [Watch] is the engine's [flow.Watcher]. The messages of a phase go to files in the folder of
// that phase. Messages that the rules call a warning or a failure are findings of the phase.
package kernelwatch
