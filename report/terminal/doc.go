// Package terminal shows a run to people, in the manner of pytest -v: live, while the run goes on,
// or from its directory. Both print the same, up to the status of what is in progress.
package terminal
