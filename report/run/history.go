package run

import (
	"slices"
	"time"

	"vmtb/flow"
)

// Limits of what a history keeps of one phase. They make its size depend on the number of phases,
// not on the amount of logs. The journal has all log lines.
const (
	maxLog   = 64 << 10 // bytes of log messages; the newest are kept
	maxSteps = 500      // steps; the oldest are kept
	maxBlock = 1 << 20  // bytes of the journal that a block of log lines spans
)

// A History is a whole run, for reports that need all of it at once. Fill it with Add, then call
// Finish.
type History struct {
	Info   flow.Info
	Groups []*Group               // in the order of the plan
	Cases  map[flow.ID]*Case      // all cases of all groups
	Until  time.Time              // newest time of all entries
	groups map[flow.ID]*Group     // by the id of the fixture
	runs   []flow.Entry           // begins and ends of the run, which may be resumed
	open   flow.OpenPhases[ender] // phases and steps that are running

	machines machineFacts
}

// An ender is a *Phase or a *Step. end takes its end entry.
type ender interface{ end(e flow.Entry) }

// A Group is a class with one parameter: cases that share a fixture.
type Group struct {
	ID     flow.ID // without Case
	Dir    string  // folder, relative to the run directory
	Doc    string
	Cases  []*Case
	Phases []*Phase // in the order of their begins; includes the attempts of cases

	run     string // the run directory
	logging *Phase // the phase of the newest log line
}

// A Case is a case with one parameter. A rerun is another attempt. The last attempt counts.
type Case struct {
	flow.Item
	Attempts []*Phase // at least one after Finish
}

// A Phase is a phase of a fixture, or an attempt of a case. The embedded entry is its end. If the
// journal has no end, Finish creates one.
type Phase struct {
	flow.Entry
	Began time.Time // zero for a case that has a result but did not run
	Steps []*Step

	group  *Group
	log    []flow.Entry // log lines that are not in a journal on the disk
	blocks []logBlock   // places of log lines in the journal; Transcript reads them
	logged int          // bytes of messages in log and blocks
	left   int          // number of log lines and steps that are not kept
}

// A logBlock is a part of the journal. All log lines of a group in it belong to one phase.
type logBlock struct {
	from, to int64 // offsets in bytes
	lines    int
	bytes    int // bytes of the messages
}

// A Step is a named part of a phase. A step without an end lasts as long as its phase: its code was
// abandoned.
type Step struct {
	flow.Entry
	Began time.Time
}

// New returns the history of a run without entries.
func New(info flow.Info) *History {
	h := &History{Info: info, Until: info.Start, Cases: map[flow.ID]*Case{}, groups: map[flow.ID]*Group{}}
	for _, it := range info.Plan {
		h.plan(it)
	}
	return h
}

// Read returns the history of a run that is over, without log lines.
func Read(dir *flow.RunDir) *History {
	h := New(dir.Info)
	for _, e := range dir.Entries {
		h.Add(e)
	}
	for _, e := range dir.Facts {
		h.addFacts(e)
	}
	h.Finish()
	return h
}

// Group returns the group of a case or its fixture; nil if there is none.
func (h *History) Group(id flow.ID) *Group { return h.groups[id.Fixture()] }

func (h *History) plan(it flow.Item) *Case {
	c := &Case{Item: it}
	g := h.groups[it.ID.Fixture()]
	if g == nil {
		g = &Group{ID: it.ID.Fixture(), Doc: it.ClassDoc, Dir: fixtureDir(it.Dir), run: h.Info.Dir}
		h.Groups = append(h.Groups, g)
		h.groups[g.ID] = g
	}
	g.Cases = append(g.Cases, c)
	h.Cases[it.ID] = c
	return c
}

// Add adds the next entry. It cleans the words of the entry (phase, result, level) at once, because
// all reports use them. Reports clean texts when they show them.
func (h *History) Add(e flow.Entry) {
	e.Phase, e.Result = flow.Phase(Clean(string(e.Phase))), flow.Result(Clean(string(e.Result)))
	e.Level = Clean(e.Level)
	if e.Time.After(h.Until) {
		h.Until = e.Time
	}
	switch {
	case e.Phase == flow.PhaseRun: // the run begins, is resumed, or ends
		h.cutOff()
		h.runs = append(h.runs, e)
	case e.Event == flow.Log:
		h.addFacts(e)
		h.logLine(e)
	case e.Event == flow.Begin && e.Phase == flow.PhaseStep:
		h.beginStep(e)
	case e.Event == flow.Begin:
		h.begin(e)
	case e.Event == flow.End:
		h.end(e)
	}
}

// over reports whether the run ended by itself.
func (h *History) over() bool {
	return len(h.runs) > 0 && h.runs[len(h.runs)-1].Event == flow.End
}

// groupOf returns the group of an entry. If the journal names a case that is not in the plan,
// groupOf creates a group for it.
func (h *History) groupOf(e flow.Entry) *Group {
	g := h.Group(e.ID)
	if g == nil {
		h.plan(flow.Item{ID: e.ID, Name: e.ID.String(), Dir: e.Dir})
		g = h.Group(e.ID)
		if e.Phase != flow.PhaseCase {
			g.Cases = nil
		}
	}
	return g
}

func (h *History) begin(e flow.Entry) {
	g := h.groupOf(e)
	p := &Phase{Entry: e, Began: e.Time, group: g}
	g.Phases = append(g.Phases, p)
	h.open.Begin(e, p)
	if e.Phase == flow.PhaseCase {
		h.attempt(e, p)
	}
}

func (h *History) beginStep(e flow.Entry) {
	p := h.place(e.ID)
	switch {
	case p == nil:
	case len(p.Steps) == maxSteps:
		p.left++
	default:
		s := &Step{Entry: e, Began: e.Time}
		p.Steps = append(p.Steps, s)
		h.open.Begin(e, s)
	}
}

// attempt adds p to the attempts of its case. A notrun result from before a resume is not an
// attempt.
func (h *History) attempt(e flow.Entry, p *Phase) {
	c := h.Cases[e.ID]
	if c == nil {
		c = h.plan(flow.Item{ID: e.ID, Name: e.ID.String(), Dir: e.Dir})
	}
	c.Attempts = slices.DeleteFunc(c.Attempts, func(a *Phase) bool {
		return a.Began.IsZero() && a.Result == flow.NotRun
	})
	c.Attempts = append(c.Attempts, p)
}

func (h *History) end(e flow.Entry) {
	ended := h.open.End(e)
	switch {
	case len(ended) > 0:
		ended[0].Value.end(e)
		cutOff(ended[1:], e.Time)
	case e.Phase != flow.PhaseStep: // a case that does not run
		p := &Phase{}
		if e.Phase == flow.PhaseCase {
			h.attempt(e, p)
		}
		g := h.groupOf(e)
		p.group = g
		g.Phases = append(g.Phases, p)
		p.end(e)
	}
}

func (p *Phase) end(e flow.Entry) {
	e.Timeout = p.Timeout
	if e.Dir == "" {
		e.Dir = p.Dir
	}
	p.Entry = e
}

func (s *Step) end(e flow.Entry) { s.Entry = e }

// place returns the phase to which a step or log line with this id belongs: the newest running
// phase of its group, or else the newest phase.
func (h *History) place(id flow.ID) *Phase {
	g := h.Group(id)
	if g == nil || len(g.Phases) == 0 {
		return nil
	}
	for _, o := range slices.Backward(h.open.All()) {
		if p, ok := o.Value.(*Phase); ok && o.Begin.ID.Fixture() == g.ID {
			return p
		}
	}
	return g.Phases[len(g.Phases)-1]
}

func (h *History) logLine(e flow.Entry) {
	p := h.place(e.ID)
	if p == nil {
		return
	}
	if e.Size > 0 {
		p.keepPlace(e)
		return
	}
	p.log = append(p.log, e)
	for p.logged += len(e.Message); p.logged > maxLog && len(p.log) > 1; p.left++ {
		p.logged -= len(p.log[0].Message)
		p.log = p.log[1:]
	}
}

// keepPlace records the place of a log line in the journal. It drops the oldest lines that no
// transcript will show.
func (p *Phase) keepPlace(e flow.Entry) {
	b := logBlock{from: e.Offset}
	n := len(p.blocks)
	if n > 0 && p.group.logging == p {
		last := p.blocks[n-1]
		if last.bytes < maxLog && e.Offset >= last.to && e.Offset-last.from < maxBlock {
			n, b = n-1, last
		}
	}
	p.group.logging = p
	b.to, b.lines, b.bytes = e.Offset+e.Size, b.lines+1, b.bytes+len(e.Message)
	p.blocks = append(p.blocks[:n], b)
	p.logged += len(e.Message)
	for first := p.blocks[0]; p.logged-first.bytes > maxLog; first = p.blocks[0] {
		p.logged -= first.bytes
		p.left += first.lines
		p.blocks = slices.Delete(p.blocks, 0, 1)
	}
}

// HasLog reports whether log lines belong to the phase.
func (p *Phase) HasLog() bool { return len(p.log)+len(p.blocks) > 0 }

// logLines returns the newest log lines, and the number of lines and steps that are left out.
func (p *Phase) logLines() (lines []flow.Entry, left int, err error) {
	lines, left = p.log, p.left
	logged := 0
	for _, b := range p.blocks {
		for e, err := range flow.ReadPart(p.group.run, b.from, b.to) {
			if err != nil {
				return lines, left, err
			}
			if e.Event != flow.Log || e.ID.Fixture() != p.group.ID {
				continue
			}
			e.Level = Clean(e.Level)
			lines = append(lines, e)
			for logged += len(e.Message); logged > maxLog && len(lines) > 1; left++ {
				logged -= len(lines[0].Message)
				lines = lines[1:]
			}
		}
	}
	return lines, left, nil
}

// Reasons of phases and runs without an end in the journal.
const (
	cutShort = "it was running when the journal ended"
	noEnd    = "the journal has no end: vmtb was killed, or is still running"
)

// CutOff returns an end for a phase that began and has no end in the journal. at is the time of the
// last entry.
func CutOff(begin flow.Entry, at time.Time) flow.Entry {
	e := begin
	e.Event, e.Time, e.Duration = flow.End, at, at.Sub(begin.Time)
	switch e.Phase {
	case flow.PhaseStep:
		e.Result = flow.Incomplete
	case flow.PhaseCase:
		e.Result, e.Reason = flow.Incomplete, cutShort
	default:
		e.Result, e.Reason = flow.Error, cutShort
	}
	return e
}

// CutOffRun returns an end for a run that began and has no end in the journal.
func CutOffRun(began, at time.Time) flow.Entry {
	return flow.Entry{
		Event: flow.End, Phase: flow.PhaseRun, Result: flow.Error, Duration: at.Sub(began), Reason: noEnd,
	}
}

// cutOff ends all phases and steps that are running.
func (h *History) cutOff() { cutOff(h.open.Clear(), h.Until) }

func cutOff(list []flow.OpenPhase[ender], at time.Time) {
	for _, o := range list {
		o.Value.end(CutOff(o.Begin, at))
	}
}

// Finish gives a result to every case that has none.
func (h *History) Finish() {
	if !h.over() {
		h.cutOff()
	}
	for _, c := range h.Cases {
		if len(c.Attempts) == 0 {
			c.Attempts = []*Phase{{Entry: flow.Entry{
				Event: flow.End, Phase: flow.PhaseCase, ID: c.ID, Dir: c.Dir, Time: h.Until,
				Result: flow.NotRun, Reason: "not started",
			}}}
		}
	}
}
