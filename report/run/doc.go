// Package run is the view model of a run directory: what reports show of it, whatever their format.
//
// A [History] is a run that was read from its journal: groups of cases that share a fixture, cases
// with their attempts, phases with their steps and logs. [Read] makes one of a run that is over, a
// [Collector] of one that may go on. [Compare] puts two runs side by side. [KindOf] says what a
// result means for who reads it.
//
// Text that a machine wrote may hold anything. [Clean] makes it fit for every format, and all texts
// that this package's methods return are clean. Fields of a [flow.Entry] are not. Files of the run
// directory may be large: [ReadTail] reads their ends.
package run
