package report

import (
	"fmt"
	"io"
	"io/fs"
	"time"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/report/run"
)

// NewLAVA returns a report that writes LAVA's signals to w when cases end. Each signal is one line
// and one write, so that other output on the console cannot split it. There are no STARTRUN and
// ENDRUN: vmtb runs in lava-test-shell, which writes its own.
func NewLAVA(w io.Writer, fsys fs.FS) Report {
	return newLAVALive(w, fsys, lavaWords{
		set: func(verb, name string) string {
			if verb == "start" {
				return "<LAVA_SIGNAL_TESTSET START " + name + ">"
			}
			return "<LAVA_SIGNAL_TESTSET STOP>"
		},
		test: func(id, result string, took time.Duration) string {
			return fmt.Sprintf("<LAVA_SIGNAL_TESTCASE TEST_CASE_ID=%s RESULT=%s UNITS=seconds MEASUREMENT=%.3f>",
				id, result, took.Seconds())
		},
	})
}

// NewLAVAScript returns a report that writes a shell script. The script calls lava-test-case and
// lava-test-set of LAVA.
func NewLAVAScript(w io.Writer, fsys fs.FS) Report {
	return newLAVA(w, fsys, "#!/bin/sh\n", lavaWords{
		set: func(verb, name string) string {
			return bench.Command{Argv: []string{"lava-test-set", verb, name}}.String()
		},
		test: func(id, result string, took time.Duration) string {
			return bench.Command{Argv: []string{
				"lava-test-case", id, "--result", result,
				"--measurement", fmt.Sprintf("%.3f", took.Seconds()), "--units", "seconds",
			}}.String()
		},
	})
}

type lavaWords struct {
	set  func(verb, name string) string
	test func(id, result string, took time.Duration) string
}

func newLAVA(w io.Writer, fsys fs.FS, head string, words lavaWords) Report {
	return newWhole(w, fsys, func(p *printer, h *run.History) {
		line := func(s string) {
			p.print(s + "\n")
			p.flush()
		}
		p.print(head)
		for _, class := range h.Classes() {
			name := run.PathName(flow.ID{File: class[0].ID.File, Class: class[0].ID.Class})
			line(words.set("start", name))
			for _, g := range class {
				for _, c := range g.Cases {
					line(words.test(run.PathName(c.ID), lavaResult(c.Last().Result), c.Last().Duration))
				}
				for _, bad := range g.Trouble() {
					line(words.test(run.PathName(bad.CaseID()), lavaResult(bad.Result), bad.Duration))
				}
			}
			line(words.set("stop", name))
		}
		p.flush()
	})
}

// lavaResult returns a result as a word of LAVA. "unknown" means that nothing is known about the
// software under test.
func lavaResult(r flow.Result) string {
	switch run.KindOf(r) {
	case run.Good:
		return "pass"
	case run.Bad:
		return "fail"
	case run.Idle:
		return "skip"
	}
	return "unknown"
}
