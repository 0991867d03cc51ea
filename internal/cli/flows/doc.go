// Package flows has what "vmtb run", "vmtb lab run" and the commands around them share about flows:
// which of them a selection takes, what a run does about results, which reports it leaves, and
// where.
package flows
