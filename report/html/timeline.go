package html

import (
	"fmt"
	"time"

	"vmtb/flow"
	"vmtb/internal/prose"
	"vmtb/report/run"
)

// A chart is a timeline: rows of bars over one axis.
type chart struct {
	Ticks []tick
	Rows  []row
	Left  int // number of rows that are not drawn
}

type tick struct {
	X, Label string
	Last     bool
}

type row struct {
	Label, Href, Took string
	Minor             bool
	Bars              []bar
}

// A bar has the position x and the width w, in percent. With percentages, a drawing fits every page
// width without a script, and its texts keep their size.
type bar struct {
	x, w         float64
	Class, Title string
	mark         bool // a moment: narrow and high
}

// Percentages, in the form of SVG attributes.
const slimmest = 0.3

func (b bar) X() string { return percent(min(b.x, 100-slimmest)) }
func (b bar) W() string { return percent(max(b.w, slimmest)) }
func (b bar) Y() int {
	if b.mark {
		return 0
	}
	return 3
}

func (b bar) H() int { return 14 - 2*b.Y() }

func percent(x float64) string { return fmt.Sprintf("%.2f%%", x) }

// maxRows is the largest number of rows of a chart.
const maxRows = 400

func (c *chart) add(r row) {
	if len(c.Rows) == maxRows {
		c.Left++
		return
	}
	c.Rows = append(c.Rows, r)
}

// A span is the time range of a chart.
type span struct{ from, to time.Time }

func (s *span) cover(from, to time.Time) {
	if s.from.IsZero() || from.Before(s.from) {
		s.from = from
	}
	if to.After(s.to) {
		s.to = to
	}
}

func (s span) bar(from time.Time, d time.Duration, class, title string) bar {
	total := max(s.to.Sub(s.from), time.Millisecond)
	share := func(d time.Duration) float64 { return min(100, max(0, 100*d.Seconds()/total.Seconds())) }
	x := share(from.Sub(s.from))
	return bar{x: x, w: min(share(d), 100-x), Class: class, Title: title}
}

// tickSteps are readable distances between ticks.
var tickSteps = []time.Duration{
	time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, time.Second,
	2 * time.Second,
	5 * time.Second, 10 * time.Second, 20 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 24 * time.Hour,
}

func (s span) ticks() []tick {
	total := max(s.to.Sub(s.from), time.Millisecond)
	step := tickSteps[len(tickSteps)-1]
	for _, d := range tickSteps {
		if total/d <= 6 {
			step = d
			break
		}
	}
	for total/step > 12 { // runs may take weeks
		step *= 2
	}
	var out []tick
	for i := range int(total / step) { // an integer range, because total may be the longest possible duration
		at := time.Duration(i+1) * step
		x := 100 * at.Seconds() / total.Seconds()
		out = append(out, tick{percent(x), prose.Duration(at), x > 96})
	}
	return out
}

// overview returns the chart of the whole run: a row for each group, with its phases.
func (s *site) overview() chart {
	all := span{s.h.Info.Start, s.h.Until}
	c := chart{Ticks: all.ticks()}
	for _, g := range s.h.Groups {
		var took span
		r := row{Label: run.Clean(groupName(g.ID)), Href: s.groupPage(g)}
		for _, p := range g.Phases {
			if p.Began.IsZero() {
				continue
			}
			took.cover(p.Began, p.Began.Add(p.Duration))
			r.Bars = append(r.Bars, all.bar(p.Began, p.Duration, phaseClass(p), barTitle(p)))
		}
		if len(r.Bars) > 0 {
			r.Took = prose.Duration(took.to.Sub(took.from))
			c.add(r)
		}
	}
	return c
}

// groupName returns a name such as "TestVmSetup[2VF-...]".
func groupName(id flow.ID) string {
	if id.Class == "" {
		return id.String()
	}
	return flow.ID{File: id.Class, Param: id.Param}.String()
}

// phaseClass returns the CSS class of a phase's bar.
func phaseClass(p *run.Phase) string {
	switch {
	case p.Phase == flow.PhaseCase:
		return resultClass(p.Result)
	case p.Result != "" && run.Failed(p.Result):
		return "bad"
	}
	return string(p.Phase)
}

func barTitle(p *run.Phase) string {
	s := string(p.Phase)
	if p.Phase == flow.PhaseCase {
		s = p.ID.Case
	}
	s += ", " + prose.Duration(p.Duration)
	if p.Result != "" {
		s += ", " + string(p.Result)
	}
	return run.Clean(s)
}

// waterfall returns the chart of one group: a row for each phase and each of its steps, then a row
// for each machine.
func (s *site) waterfall(g *run.Group, lanes []lane) chart {
	var all span
	for _, p := range g.Phases {
		if !p.Began.IsZero() {
			all.cover(p.Began, p.Began.Add(p.Duration))
		}
	}
	if all.from.IsZero() {
		return chart{}
	}
	c := chart{Ticks: all.ticks()}
	for _, p := range g.Phases {
		if p.Began.IsZero() {
			continue
		}
		r := row{
			Label: string(p.Phase), Took: prose.Duration(p.Duration),
			Bars: []bar{all.bar(p.Began, p.Duration, phaseClass(p), barTitle(p))},
		}
		if p.Phase == flow.PhaseCase {
			r.Label, r.Href = run.Clean(p.ID.Case), "#"+caseAnchor(p.ID)
		}
		c.add(r)
		for _, st := range p.Steps {
			class := "step"
			if st.Result != "" {
				class = "bad"
			}
			name := run.OneLine(st.Name, 200)
			c.add(row{
				Label: name, Took: prose.Duration(st.Duration), Minor: true,
				Bars: []bar{all.bar(st.Began, st.Duration, class, name+", "+prose.Duration(st.Duration))},
			})
		}
	}
	for _, l := range lanes {
		r := row{Label: run.Clean(l.name)}
		for _, seg := range l.segments {
			b := all.bar(seg.from, seg.to.Sub(seg.from), seg.state, run.Clean(l.name)+" "+seg.title)
			b.mark = seg.from.Equal(seg.to)
			r.Bars = append(r.Bars, b)
		}
		if n := len(l.segments); n > 0 {
			r.Took = prose.Duration(l.to.Sub(l.segments[0].from))
			c.add(r)
		}
	}
	return c
}
