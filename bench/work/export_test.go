package work

import "vmtb/bench"

// Internals for the tests of this package.
var (
	SplitWords = splitWords
	ParseState = func(s string) (done bool, code int, err error) {
		st, err := parseState(s)
		return st.done, st.code, err
	}
)

// Run returns the run that waits at its gate.
func (p *Prepared) Run() *Run { return &Run{p.m, p.h} }

// RunOf returns the run with this handle.
func RunOf(m bench.Machine, h Handle) *Run { return &Run{m, h} }
