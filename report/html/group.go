package html

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"vmtb/flow"
	"vmtb/internal/prose"
	"vmtb/report/run"
)

type groupView struct {
	frame
	Class, Anchor, Heading, Doc string
	Chart                       chart
	Cases                       []caseView
	Phases                      []phaseView
	Machines                    []machineView
}

// A phaseView is a phase of the fixture, or those fields of a case that phases have, too.
type phaseView struct {
	Name, Class, Took, Reason, Facts, Stack string
	Logs                                    []logView
}

type caseView struct {
	phaseView
	Anchor, Doc string
	Attempts    []attemptView
	Tails       []tailView
	Files       []link
}

type logView struct {
	Name, Text string
	Open       bool
}

type attemptView struct {
	N                          int
	Class, Began, Took, Reason string
}

type machineView struct {
	Name, Build, Prepare, Argv string
	Tails                      []tailView
	Files                      []link
}

// maxFiles is the largest number of listed files of a folder.
const maxFiles = 100

func (s *site) group(g *run.Group) (groupView, error) {
	v := groupView{
		frame: s.frame(
			"vmtb: "+run.Clean(groupName(g.ID)), "",
		), Class: run.Clean(run.ClassName(g.ID)), Anchor: classAnchor(g.ID),
		Heading: run.Clean(groupName(g.ID)), Doc: run.Clean(g.Doc),
	}
	for _, c := range g.Cases {
		cv, err := s.caseView(c)
		if err != nil {
			return v, err
		}
		v.Cases = append(v.Cases, cv)
	}
	for _, p := range g.Phases {
		if p.OfFixture() && (p.Result != "" || p.HasLog()) {
			v.Phases = append(v.Phases, newPhaseView(p, string(p.Phase)))
		}
	}
	lanes, err := s.machines(g, &v)
	v.Chart = s.waterfall(g, lanes)
	return v, err
}

func newPhaseView(p *run.Phase, name string) phaseView {
	v := phaseView{
		Name: run.Clean(name), Facts: facts(p), Stack: strings.TrimSpace(run.Clean(p.Stack)),
		Reason: strings.TrimSpace(run.Clean(p.Reason)),
	}
	if p.Result != "" {
		v.Class = resultClass(p.Result)
	}
	if !p.Began.IsZero() {
		v.Took = prose.Duration(p.Duration)
	}
	if text := p.Transcript(prose.Duration); text != "" {
		v.Logs = []logView{
			{Name: "Steps and log", Text: text, Open: p.Result != "" && run.KindOf(p.Result) != run.Good},
		}
	}
	return v
}

func (s *site) caseView(c *run.Case) (caseView, error) {
	a := c.Last()
	v := caseView{phaseView: newPhaseView(a, c.ID.Case), Anchor: caseAnchor(c.ID), Doc: run.Clean(c.Doc)}
	if c.Excused() {
		v.Facts = strings.Trim(c.Excuse()+" · "+v.Facts, " ·")
	}
	if len(c.Attempts) > 1 {
		v.Logs = nil
		for i, b := range c.Attempts {
			v.Attempts = append(
				v.Attempts,
				attemptView{
					i + 1, resultClass(b.Result), b.Start().UTC().Format("15:04:05"), prose.Duration(b.Duration),
					run.OneLine(b.Reason, 300),
				},
			)
			if text := b.Transcript(prose.Duration); text != "" {
				v.Logs = append(v.Logs, logView{fmt.Sprintf("Steps and log of attempt %d", i+1), text, false})
			}
		}
	}
	seen := map[string]bool{}
	for _, b := range c.Attempts {
		if b.Dir == "" || seen[b.Dir] || !fs.ValidPath(b.Dir) {
			continue
		}
		seen[b.Dir] = true
		v.Files = append(v.Files, s.files(b.Dir)...)
		for _, name := range run.KernelLogs(s.run, b.Dir) {
			t, err := s.tail(
				name, "Kernel messages, "+path.Base(name), a.Result == flow.DmesgWarn || a.Result == flow.DmesgFail,
			)
			if err != nil {
				return v, err
			}
			v.Tails = append(v.Tails, t)
		}
	}
	return v, nil
}

// files returns links to the files in a folder.
func (s *site) files(dir string) []link {
	entries, err := fs.ReadDir(s.run, dir)
	if err != nil {
		return nil // a case that did not run has no folder
	}
	var out []link
	for _, e := range entries {
		if e.Type().IsRegular() && len(out) < maxFiles {
			out = append(out, link{s.href(path.Join(dir, e.Name())), run.Clean(e.Name())})
		}
	}
	return out
}

// machines adds the machines of all builds of the fixture to v. It returns their lanes of the
// timeline.
func (s *site) machines(g *run.Group, v *groupView) (lanes []lane, err error) {
	builds, err := fs.Glob(s.run, path.Join(g.Dir, "fixture-*"))
	if err != nil || g.Dir == "" {
		return nil, nil //nolint:nilerr // vmtb makes no folder with pattern characters in its name
	}
	for _, build := range builds {
		for _, dir := range run.Machines(s.run, build) {
			m, err := s.machine(dir)
			if err != nil {
				return lanes, err
			}
			m.Build = run.Clean(path.Base(build))
			v.Machines = append(v.Machines, m)
			l, err := readLane(s.run, dir)
			if err != nil {
				return lanes, err
			}
			lanes = append(lanes, l)
		}
	}
	return lanes, nil
}

func (s *site) machine(dir string) (machineView, error) {
	m := machineView{Name: run.Clean(path.Base(dir)), Files: s.files(dir)}
	const longest = 256 << 10
	argv, err := run.ReadTail(s.run, path.Join(dir, "argv"), longest)
	if err != nil {
		return m, err
	}
	m.Argv = strings.Join(optionLines(strings.TrimSpace(argv.Text)), " \\\n    ")
	m.Prepare = prepare(argv.Text, image(s.h.Info))
	for _, f := range []struct{ name, title string }{
		{"console.log", "Console"},
		{"stderr.log", "QEMU's messages"},
		{"qmp.jsonl", "QMP transcript"},
		{"qga.jsonl", "Guest agent transcript"},
	} {
		t, err := s.tail(path.Join(dir, f.name), f.title, false)
		if err != nil {
			return m, err
		}
		if t.Size > 0 {
			m.Tails = append(m.Tails, t)
		}
	}
	return m, nil
}
