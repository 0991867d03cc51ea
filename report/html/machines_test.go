package html

import (
	"strings"
	"testing"
	"time"

	"vmtb/flow"
	"vmtb/report/reporttest"
	"vmtb/report/run"
)

func TestOptionLines(t *testing.T) {
	line := `qemu -name 'a -b' -S -m 256M -append 'x '\'' -y' -- - -z`
	want := "qemu|-name 'a -b'|-S|-m 256M|-append 'x '\\'' -y'|-- -|-z"
	if got := strings.Join(optionLines(line), "|"); got != want {
		t.Errorf("%s", got)
	}
	argv := reporttest.MachineFiles("vm0")["vm0/argv"]
	made := "mkdir -p /run/vmtb/abc /var/tmp/vmtb-1\n" +
		"qemu-img create -f qcow2 -F FORMAT_OF_IMAGE -b 'my image' /var/tmp/vmtb-1/disk0.qcow2\n"
	if got := prepare(argv, "my image"); got != made {
		t.Errorf("%s", got)
	}
	if got := prepare("qemu -S", ""); got != "" {
		t.Errorf("%q", got)
	}
}

func FuzzOptionLines(f *testing.F) {
	f.Add(`qemu -a 'b -c' \' -d`)
	f.Fuzz(func(t *testing.T, line string) {
		if got := strings.Join(optionLines(line), " "); got != line {
			t.Errorf("%q became %q", line, got)
		}
	})
}

func TestLane(t *testing.T) {
	var l lane
	if err := l.read(strings.NewReader(reporttest.MachineFiles("vm0")["vm0/qmp.jsonl"])); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range l.segments {
		got = append(got, s.title+" "+s.to.Sub(s.from).String())
	}
	want := "not started 1.5s, running 17s, paused 4s, guest_panicked 0s, shutdown 0s, running 16s"
	if g := strings.Join(got, ", "); g != want {
		t.Errorf("%s\nwant %s", g, want)
	}
}

func FuzzLane(f *testing.F) {
	f.Add(reporttest.MachineFiles("vm0")["vm0/qmp.jsonl"])
	f.Add(`{"t":"2026-04-01T12:00:00Z","line":{"event":"STOP"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		l := lane{name: "vm0"}
		if err := l.read(strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		s := &site{h: run.New(flow.Info{})}
		g := &run.Group{Phases: []*run.Phase{{
			Began: time.Unix(0, 0), Entry: flow.Entry{Phase: flow.PhaseSetUp, Duration: time.Hour},
		}}}
		for _, r := range s.waterfall(g, []lane{l}).Rows {
			for _, b := range r.Bars {
				if b.x < 0 || b.w < 0 || b.x+b.w > 100.001 {
					t.Errorf("bar %+v", b)
				}
			}
		}
	})
}
