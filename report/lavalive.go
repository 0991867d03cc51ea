package report

import (
	"io"
	"io/fs"

	"vmtb/flow"
	"vmtb/report/run"
)

// A lavaLive writes LAVA's signals as cases end, so that LAVA keeps what a DUT had done that died.
// A result that may be followed by another of the same case is held back until its fixture is done
// with. A merged run, in which several DUTs work at the same time, is written when all of it is
// known.
type lavaLive struct {
	*run.History
	p     *printer
	words lavaWords

	set     string                 // the test set that has begun, "" for none
	current *run.Group             // the one that runs
	told    map[flow.ID]*run.Phase // the attempt whose result was written
	trouble map[*run.Phase]bool    // what was written of fixtures
}

func newLAVALive(w io.Writer, fsys fs.FS, words lavaWords) Report {
	return &lavaLive{
		p: newPrinter(w, fsys), words: words, told: map[flow.ID]*run.Phase{}, trouble: map[*run.Phase]bool{},
	}
}

func (l *lavaLive) Start(info flow.Info) { l.History = run.New(info) }

func (l *lavaLive) Entry(e flow.Entry) {
	l.Add(e)
	if len(l.Info.DUTs) > 1 || e.Phase == flow.PhaseStep || e.ID == (flow.ID{}) {
		return
	}
	if e.Event != flow.Begin && e.Event != flow.End {
		return
	}
	if g := l.Group(e.ID); g != l.current {
		l.tellGroup(l.current)
		l.current = g
	}
	if e.Phase == flow.PhaseCase && e.Event == flow.End {
		if c := l.Cases[e.ID]; l.settled(c) {
			l.tell(c)
		}
	}
}

// Close writes what has not been written, also of cases that never began.
func (l *lavaLive) Close() error {
	if l.History == nil {
		return nil
	}
	l.Finish()
	for _, class := range l.Classes() {
		for _, g := range class {
			l.tellGroup(g)
		}
	}
	l.enter("")
	return l.p.err
}

// settled reports whether the result of a case is the last one, by the policy of the run.
func (l *lavaLive) settled(c *run.Case) bool {
	last, tries := c.Last(), len(c.Attempts)
	switch policy := l.Info.Policy; {
	case last.Result == flow.Incomplete, last.Result == flow.NotRun: // a resumed run may go on with it
		return false
	case policy.Repeat > 1:
		return tries >= policy.Repeat || run.Failed(last.Result)
	case last.After != "":
		return policy.RerunFailed == 0
	case run.Failed(last.Result):
		return tries > policy.RerunFailed
	}
	return true
}

// tellGroup writes what is known of a group and has not been written.
func (l *lavaLive) tellGroup(g *run.Group) {
	if g == nil {
		return
	}
	for _, c := range g.Cases {
		if len(c.Attempts) > 0 && c.Last().Event == flow.End {
			l.tell(c)
		}
	}
	for _, bad := range g.Trouble() {
		if !l.trouble[bad.Phase] {
			l.trouble[bad.Phase] = true
			l.write(bad.CaseID(), bad.Phase)
		}
	}
}

func (l *lavaLive) tell(c *run.Case) {
	if a := c.Last(); l.told[c.ID] != a {
		l.told[c.ID] = a
		l.write(c.ID, a)
	}
}

func (l *lavaLive) write(id flow.ID, a *run.Phase) {
	l.enter(run.PathName(flow.ID{File: id.File, Class: id.Class}))
	l.line(l.words.test(run.PathName(id), lavaResult(a.Result), a.Duration))
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
