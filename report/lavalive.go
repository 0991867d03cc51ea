package report

import (
	"io"
	"io/fs"

	"vmtb/flow"
	"vmtb/report/run"
)

// A lavaLive writes LAVA's signals when cases end, so that LAVA keeps the results of a DUT that
// dies. If a case may run again, its result waits until the fixture is done. A merged run is
// written at its end, because its DUTs work at the same time.
type lavaLive struct {
	*run.History
	p     *printer
	words lavaWords

	set       string                 // the open test set; "" for none
	current   *run.Group             // the running group
	announced map[flow.ID]*run.Phase // the attempts whose results are written
	trouble   map[*run.Phase]bool    // the fixture failures that are written
}

func newLAVALive(w io.Writer, fsys fs.FS, words lavaWords) Report {
	return &lavaLive{
		p: newPrinter(w, fsys), words: words, announced: map[flow.ID]*run.Phase{}, trouble: map[*run.Phase]bool{},
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
		l.writeGroup(l.current)
		l.current = g
	}
	if e.Phase == flow.PhaseCase && e.Event == flow.End {
		if c := l.Cases[e.ID]; l.settled(c) {
			l.tell(c)
		}
	}
}

// Close writes the remaining results, also those of cases that never began.
func (l *lavaLive) Close() error {
	if l.History == nil {
		return nil
	}
	l.Finish()
	for _, class := range l.Classes() {
		for _, g := range class {
			l.writeGroup(g)
		}
	}
	l.enter("")
	return l.p.err
}

// settled reports whether the policy of the run makes this result of the case final.
func (l *lavaLive) settled(c *run.Case) bool {
	last, tries := c.Last(), len(c.Attempts)
	switch policy := l.Info.Policy; {
	case last.Result == flow.Incomplete, last.Result == flow.NotRun: // a resumed run may continue with it
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

// writeGroup writes the known results of a group that are not written yet.
func (l *lavaLive) writeGroup(g *run.Group) {
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
	if a := c.Last(); l.announced[c.ID] != a {
		l.announced[c.ID] = a
		l.write(c.ID, a)
	}
}

func (l *lavaLive) write(id flow.ID, a *run.Phase) {
	l.enter(run.PathName(flow.ID{File: id.File, Class: id.Class}))
	l.line(l.words.test(run.PathName(id), lavaResult(a.Result), a.Duration))
}

// enter ends the open test set and begins another; "" begins none.
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

// line writes s and a line end in one write.
func (l *lavaLive) line(s string) {
	l.p.print(s + "\n")
	l.p.flush()
}
