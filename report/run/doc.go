// Package run is the view model of a run directory: the data that reports of all formats show.
//
// A [History] is a run that was read from its journal: groups of cases that share a fixture, cases
// with their attempts, phases with their steps and logs. [Read] returns the history of a run that
// is over. A [Collector] builds it during a run. [Compare] compares two runs. [KindOf] says what a
// result means to the reader.
//
// Text that a machine wrote may contain any bytes. [Clean] makes it safe for every format. Texts
// that methods of this package return are clean; fields of a [flow.Entry] are not. Files of the run
// directory may be large: [ReadTail] reads their ends.
package run
