package report

import (
	"slices"
	"time"

	"vmtb/flow"
)

// Bounds of what a history keeps of one phase, so that its size depends on how many phases there are and not on how much
// they say. All of it is in the journal.
const (
	maxLog   = 64 << 10 // bytes of log messages; the newest are kept
	maxSteps = 500      // steps; the oldest are kept
)

// A history is a run as reports see it that need all of it at once: groups, cases with their attempts, phases with their
// steps and logs. Fill it with add, then call finish.
type history struct {
	info   flow.Info
	groups []*group // in the order of the plan
	now    time.Time
	runs   []flow.Entry // begins and ends of the run, which may have been resumed
	log    []flow.Entry

	cases    map[flow.ID]*testCase
	fixtures map[flow.ID]*group
}

// A group is a class with one parameter: the cases that share a fixture.
type group struct {
	id     flow.ID // without Case
	dir    string  // its folder, relative to the run directory
	doc    string
	cases  []*testCase
	phases []*phase // as they began, the cases' attempts among them
}

// A testCase is a case with one parameter. A rerun is another attempt; the last one counts.
type testCase struct {
	flow.Item
	attempts []*phase // after finish at least one
}

// excused reports that the case failed, and that this does not count.
func (c *testCase) excused() bool { return c.last().Quarantined && failed(c.last().Result) }

// excuse is why it is in quarantine.
func (c *testCase) excuse() string {
	text := "quarantined"
	if q := c.Quarantine; q != nil {
		text += " until " + clean(string(q.Expires)) + ": " + oneLine(q.Reason, 300)
		if q.Link != "" {
			text += " (" + oneLine(q.Link, 300) + ")"
		}
	}
	return text
}

// A phase of a fixture, or an attempt of a case. The embedded entry is its end; one that has none ends with the journal.
type phase struct {
	flow.Entry
	began time.Time // zero for a case that has a result without having run
	ended bool
	steps []*step
	log   []flow.Entry
	left  int // log lines and steps that are not kept

	logged int // bytes in log
}

// A step is a named part of a phase. One without an end lasts as long as its phase: its code was abandoned.
type step struct {
	flow.Entry
	began time.Time
	ended bool
}

func newHistory(info flow.Info) *history {
	h := &history{info: info, now: info.Start, cases: map[flow.ID]*testCase{}, fixtures: map[flow.ID]*group{}}
	for _, it := range info.Plan {
		h.plan(it)
	}
	return h
}

func (h *history) plan(it flow.Item) *testCase {
	c := &testCase{Item: it}
	g := h.fixtures[it.ID.Fixture()]
	if g == nil {
		g = &group{id: it.ID.Fixture(), doc: it.ClassDoc, dir: groupDir(it.Dir)}
		h.groups = append(h.groups, g)
		h.fixtures[g.id] = g
	}
	g.cases = append(g.cases, c)
	h.cases[it.ID] = c
	return c
}

// add takes the next entry. Its words are cleaned here, for they are used everywhere; its texts where they are shown.
func (h *history) add(e flow.Entry) {
	e.Phase, e.Result, e.Level = flow.Phase(clean(string(e.Phase))), flow.Result(clean(string(e.Result))), clean(e.Level)
	if e.Time.After(h.now) {
		h.now = e.Time
	}
	switch {
	case e.Phase == flow.PhaseRun:
		h.run(e)
	case e.Event == flow.Log:
		h.logLine(e)
	case e.Phase == flow.PhaseStep:
		h.step(e)
	case e.Event == flow.Begin:
		h.open(e)
	case e.Event == flow.End:
		h.close(e)
	}
}

// run sees the run begin, once more when it is resumed, and end.
func (h *history) run(e flow.Entry) {
	h.cutOff()
	h.runs = append(h.runs, e)
}

// over reports whether the run came to its own end.
func (h *history) over() bool {
	return len(h.runs) > 0 && h.runs[len(h.runs)-1].Event == flow.End
}

// group of an entry. A journal may speak of what no plan holds; it gets a group all the same.
func (h *history) group(e flow.Entry) *group {
	g := h.fixtures[e.ID.Fixture()]
	if g == nil {
		h.plan(flow.Item{ID: e.ID, Name: e.ID.String(), Dir: e.Dir})
		g = h.fixtures[e.ID.Fixture()]
		if e.Phase != flow.PhaseCase {
			g.cases = nil
		}
	}
	return g
}

func (h *history) open(e flow.Entry) *phase {
	g := h.group(e)
	p := &phase{Entry: e, began: e.Time}
	g.phases = append(g.phases, p)
	if e.Phase == flow.PhaseCase {
		h.attempt(e, p)
	}
	return p
}

// attempt adds p to its case. A result without a run, from before the run was resumed, is no attempt.
func (h *history) attempt(e flow.Entry, p *phase) {
	c := h.cases[e.ID]
	if c == nil {
		c = h.plan(flow.Item{ID: e.ID, Name: e.ID.String(), Dir: e.Dir})
	}
	c.attempts = slices.DeleteFunc(c.attempts, func(a *phase) bool { return a.began.IsZero() && a.Result == flow.NotRun })
	c.attempts = append(c.attempts, p)
}

func (h *history) close(e flow.Entry) {
	p := h.running(e.Phase, e.ID)
	if p == nil { // a case that does not run
		p = &phase{}
		if e.Phase == flow.PhaseCase {
			h.attempt(e, p)
		}
		g := h.group(e)
		g.phases = append(g.phases, p)
	}
	e.Timeout = p.Timeout
	if e.Dir == "" {
		e.Dir = p.Dir
	}
	p.Entry, p.ended = e, true
	p.endSteps()
}

// running is the phase that has begun and not ended.
func (h *history) running(what flow.Phase, id flow.ID) *phase {
	g := h.fixtures[id.Fixture()]
	if g == nil {
		return nil
	}
	for _, p := range slices.Backward(g.phases) {
		if !p.ended && p.Phase == what && p.ID == id {
			return p
		}
	}
	return nil
}

// place is the phase that a step or a log line of this id belongs to: the newest that runs, else the newest.
func (h *history) place(id flow.ID) *phase {
	g := h.fixtures[id.Fixture()]
	if g == nil || len(g.phases) == 0 {
		return nil
	}
	for _, p := range slices.Backward(g.phases) {
		if !p.ended {
			return p
		}
	}
	return g.phases[len(g.phases)-1]
}

func (h *history) step(e flow.Entry) {
	p := h.place(e.ID)
	if p == nil {
		return
	}
	if e.Event == flow.Begin {
		if len(p.steps) == maxSteps {
			p.left++
			return
		}
		p.steps = append(p.steps, &step{Entry: e, began: e.Time})
		return
	}
	for _, s := range slices.Backward(p.steps) {
		if !s.ended && s.Name == e.Name && s.ID == e.ID {
			s.Entry, s.ended = e, true
			return
		}
	}
}

func (h *history) logLine(e flow.Entry) {
	p := h.place(e.ID)
	if p == nil {
		h.log = append(h.log, e)
		h.log = h.log[max(0, len(h.log)-maxSteps):]
		return
	}
	p.log = append(p.log, e)
	for p.logged += len(e.Message); p.logged > maxLog && len(p.log) > 1; p.left++ {
		p.logged -= len(p.log[0].Message)
		p.log = p.log[1:]
	}
}

func (p *phase) endSteps() {
	for _, s := range p.steps {
		if !s.ended {
			s.ended, s.Result, s.Duration = true, flow.Incomplete, p.Time.Sub(s.began)
		}
	}
}

// noEnd is the reason of what was in flight where the journal, or the part of it before a resume, ends.
const noEnd = "it was running where the journal ends"

// cutOff ends what runs.
func (h *history) cutOff() {
	for _, g := range h.groups {
		for _, p := range g.phases {
			if p.ended {
				continue
			}
			p.ended, p.Event, p.Reason = true, flow.End, noEnd
			p.Result = flow.Error
			if p.Phase == flow.PhaseCase {
				p.Result = flow.Incomplete
			}
			p.Duration, p.Time = h.now.Sub(p.began), h.now
			p.endSteps()
		}
	}
}

// finish gives a result to every case that has none.
func (h *history) finish() {
	if !h.over() {
		h.cutOff()
	}
	for _, c := range h.cases {
		if len(c.attempts) == 0 {
			e := flow.Entry{Event: flow.End, Phase: flow.PhaseCase, ID: c.ID, Dir: c.Dir, Time: h.now, Result: flow.NotRun, Reason: "never begun"}
			c.attempts = []*phase{{Entry: e, ended: true}}
		}
	}
}
