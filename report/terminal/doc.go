// Package terminal shows a run to people, in the style of pytest -v: live during the run, or later
// from its directory. Both print the same, except for the status line.
package terminal
