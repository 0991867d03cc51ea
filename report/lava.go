package report

import (
	"fmt"
	"io"
	"io/fs"
	"time"

	"vmtb/bench"
	"vmtb/flow"
)

// NewLAVA writes LAVA's signals to w as cases end, one a line and each in one write, so that what else writes to the same console
// cannot get into the middle of one. There are no STARTRUN and ENDRUN: lava-test-shell, in which vmtb runs, has its own.
func NewLAVA(w io.Writer, fsys fs.FS) Report {
	return newLAVALive(w, fsys, lavaWords{
		set: func(verb, name string) string {
			return fmt.Sprintf("<LAVA_SIGNAL_TESTSET %s>", map[string]string{"start": "START " + name, "stop": "STOP"}[verb])
		},
		test: func(id, result string, took time.Duration) string {
			return fmt.Sprintf("<LAVA_SIGNAL_TESTCASE TEST_CASE_ID=%s RESULT=%s UNITS=seconds MEASUREMENT=%.3f>", id, result, took.Seconds())
		},
	})
}

// NewLAVAScript writes a shell script that calls LAVA's lava-test-case and lava-test-set instead.
func NewLAVAScript(w io.Writer, fsys fs.FS) Report {
	return newLAVA(w, fsys, "#!/bin/sh\n", lavaWords{
		set: func(verb, name string) string {
			return bench.Command{Argv: []string{"lava-test-set", verb, name}}.String()
		},
		test: func(id, result string, took time.Duration) string {
			return bench.Command{Argv: []string{"lava-test-case", id, "--result", result, "--measurement", fmt.Sprintf("%.3f", took.Seconds()), "--units", "seconds"}}.String()
		},
	})
}

type lavaWords struct {
	set  func(verb, name string) string
	test func(id, result string, took time.Duration) string
}

func newLAVA(w io.Writer, fsys fs.FS, head string, words lavaWords) Report {
	return newWhole(w, fsys, func(p *printer, h *history) {
		line := func(s string) {
			p.print(s + "\n")
			p.flush()
		}
		p.print(head)
		for _, class := range h.classes() {
			name := pathName(flow.ID{File: class[0].id.File, Class: class[0].id.Class})
			line(words.set("start", name))
			for _, g := range class {
				for _, c := range g.cases {
					line(words.test(pathName(c.ID), lavaResult(c.last().Result), c.last().Duration))
				}
				for _, bad := range g.trouble() {
					line(words.test(pathName(bad.id()), lavaResult(bad.Result), bad.Duration))
				}
			}
			line(words.set("stop", name))
		}
		p.flush()
	})
}

// lavaResult: what says nothing about the software under test is no failure of it.
func lavaResult(r flow.Result) string {
	switch kindOf(r) {
	case good:
		return "pass"
	case bad:
		return "fail"
	case idle:
		return "skip"
	}
	return "unknown"
}

// id is that of a case in the fixture's place: no case is called "tear-down".
func (t trouble) id() flow.ID {
	id := t.ID
	id.Case = t.name
	return id
}
