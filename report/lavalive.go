package report

import (
	"io"
	"io/fs"

	"vmtb/flow"
)

// A lavaLive writes LAVA's signals as cases end, so that LAVA keeps what a DUT had done that died.
// A result that may be followed by another of the same case is held back until its fixture is done
// with. A merged run, in which several DUTs work at the same time, is written when all of it is
// known.
type lavaLive struct {
	*history
	p     *printer
	words lavaWords

	set     string             // the test set that has begun, "" for none
	current *group             // the one that runs
	told    map[flow.ID]*phase // the attempt whose result was written
	trouble map[*phase]bool    // what was written of fixtures
}

func newLAVALive(w io.Writer, fsys fs.FS, words lavaWords) Report {
	return &lavaLive{p: newPrinter(w, fsys), words: words, told: map[flow.ID]*phase{}, trouble: map[*phase]bool{}}
}

func (l *lavaLive) Start(info flow.Info) { l.history = newHistory(info) }

func (l *lavaLive) Entry(e flow.Entry) {
	l.add(e)
	if len(l.info.DUTs) > 1 || e.Phase == flow.PhaseStep || e.ID == (flow.ID{}) {
		return
	}
	if e.Event != flow.Begin && e.Event != flow.End {
		return
	}
	if g := l.fixtures[e.ID.Fixture()]; g != l.current {
		l.tellGroup(l.current)
		l.current = g
	}
	if e.Phase == flow.PhaseCase && e.Event == flow.End {
		if c := l.cases[e.ID]; l.settled(c) {
			l.tell(c)
		}
	}
}

// Close writes what has not been written, also of cases that never began.
func (l *lavaLive) Close() error {
	if l.history == nil {
		return nil
	}
	l.finish()
	for _, class := range l.classes() {
		for _, g := range class {
			l.tellGroup(g)
		}
	}
	l.enter("")
	return l.p.err
}

// settled reports whether the result of a case is the last one, by the policy of the run.
func (l *lavaLive) settled(c *testCase) bool {
	last, tries := c.last(), len(c.attempts)
	switch policy := l.info.Policy; {
	case last.Result == flow.Incomplete, last.Result == flow.NotRun: // a resumed run may go on with it
		return false
	case policy.Repeat > 1:
		return tries >= policy.Repeat || failed(last.Result)
	case last.After != "":
		return policy.RerunFailed == 0
	case failed(last.Result):
		return tries > policy.RerunFailed
	}
	return true
}

// tellGroup writes what is known of a group and has not been written.
func (l *lavaLive) tellGroup(g *group) {
	if g == nil {
		return
	}
	for _, c := range g.cases {
		if len(c.attempts) > 0 && c.last().ended {
			l.tell(c)
		}
	}
	for _, bad := range g.trouble() {
		if !l.trouble[bad.phase] {
			l.trouble[bad.phase] = true
			l.write(bad.id(), bad.phase)
		}
	}
}

func (l *lavaLive) tell(c *testCase) {
	if a := c.last(); l.told[c.ID] != a {
		l.told[c.ID] = a
		l.write(c.ID, a)
	}
}

func (l *lavaLive) write(id flow.ID, a *phase) {
	l.enter(pathName(flow.ID{File: id.File, Class: id.Class}))
	l.line(l.words.test(pathName(id), lavaResult(a.Result), a.Duration))
}

// enter ends the test set that has begun and begins another, none for "".
func (l *lavaLive) enter(set string) {
	if set == l.set {
		return
	}
	if l.set != "" {
		l.line(l.words.set("stop", l.set))
	}
	if l.set = set; set != "" {
		l.line(l.words.set("start", set))
	}
}

// line writes a line in one write.
func (l *lavaLive) line(s string) {
	l.p.print(s + "\n")
	l.p.flush()
}
