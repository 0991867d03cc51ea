// Package flows has code for commands about flows, such as "vmtb run" and "vmtb lab run": which
// flows a selection takes, how a run treats results, and which reports it writes where.
package flows
