package reporttest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vmtb/flow"
)

// Large is a run of many cases. [Large.Write] makes its directory without holding the run in memory.
type Large struct {
	Cases int
	// Log returns how many log lines the i-th case writes, and how long each is; nil is 5 lines of
	// 100 bytes.
	Log func(i int) (lines, size int)
	// Passed makes every case pass. Else one of 50 fails and one of 100 is an error.
	Passed bool
	// Console is the size of the console log of each machine, most of it a hole in the file. Every
	// fixture has one machine.
	Console int64
}

// casesOfGroup and groupsOfClass are the shape of a large run: upstream's are alike.
const (
	casesOfGroup  = 8
	groupsOfClass = 50
)

func (l Large) id(i int) flow.ID {
	group := i / casesOfGroup
	return flow.ID{
		File: "test_large", Class: fmt.Sprintf("TestClass%03d", group/groupsOfClass),
		Case:  fmt.Sprintf("test_case_%d", i%casesOfGroup),
		Param: fmt.Sprintf("%dVF-(P:AUTO S:INFINITE)", group%groupsOfClass+1),
	}
}

// Write writes the run directory, which must not exist, and returns how many bytes the journal has.
func (l Large) Write(t testing.TB, dir string) int64 {
	t.Helper()
	begin := time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)
	info := flow.Info{
		Format: flow.Format, Version: "0.1", DUT: "lab, Linux 6.19.0, Battlemage", Start: begin, TimeoutScale: 1,
		BootID: filepath.Base(dir),
	}
	for i := range l.Cases {
		id := l.id(i)
		group := fmt.Sprintf("%04d-test_large", i/casesOfGroup+1)
		info.Plan = append(info.Plan, flow.Item{ID: id, Name: id.String(), Dir: group + "/" + id.Case})
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(dir, 0o755))
	data, err := json.Marshal(info)
	must(err)
	must(os.WriteFile(filepath.Join(dir, "run.json"), data, 0o600))
	f, err := os.Create(filepath.Join(dir, "journal.jsonl"))
	must(err)
	buf := bufio.NewWriterSize(f, 1<<20)
	w := &largeJournal{enc: json.NewEncoder(buf), at: begin}
	w.entry(flow.Entry{Event: flow.Begin, Phase: flow.PhaseRun})
	for i, it := range info.Plan {
		if i%casesOfGroup == 0 {
			fixture := filepath.Dir(it.Dir) + "/fixture-1"
			l.machine(must, filepath.Join(dir, fixture, "vm0"))
			w.phase(flow.Entry{Phase: flow.PhaseSetUp, ID: it.ID.Fixture(), Dir: fixture})
		}
		l.oneCase(w, i, it)
		if i%casesOfGroup == casesOfGroup-1 || i == l.Cases-1 {
			w.phase(flow.Entry{
				Phase: flow.PhaseTearDown, ID: it.ID.Fixture(), Dir: filepath.Dir(it.Dir) + "/fixture-1",
			})
		}
	}
	w.entry(flow.Entry{Event: flow.End, Phase: flow.PhaseRun, Duration: w.at.Sub(begin), ExitCode: new(int)})
	must(w.err)
	must(buf.Flush())
	size, err := f.Seek(0, 1)
	must(err)
	must(f.Close())
	return size
}

func (l Large) machine(must func(error), dir string) {
	if l.Console == 0 {
		return
	}
	must(os.MkdirAll(dir, 0o755))
	must(os.WriteFile(filepath.Join(dir, "argv"), []byte("qemu-system-x86_64 -m 1G\n"), 0o600))
	f, err := os.Create(filepath.Join(dir, "console.log"))
	must(err)
	end := strings.Repeat("\n[    1.000000] xe 0000:01:00.0: [drm] a line of the guest's kernel", 1000)
	_, err = f.WriteAt([]byte(end+"\nthe last line\n"), max(0, l.Console-int64(len(end))))
	must(err)
	must(f.Close())
}

func (l Large) oneCase(w *largeJournal, i int, it flow.Item) {
	lines, size := 5, 100
	if l.Log != nil {
		lines, size = l.Log(i)
	}
	w.entry(flow.Entry{Event: flow.Begin, Phase: flow.PhaseCase, ID: it.ID, Dir: it.Dir, Timeout: time.Minute})
	for _, name := range []string{"boot 1 VM", "probe the driver", "shut down"} {
		w.phase(flow.Entry{Phase: flow.PhaseStep, ID: it.ID, Name: name})
	}
	line := strings.Repeat("0123456789abcdef ", size/17+1)[:size]
	for n := range lines {
		w.entry(flow.Entry{
			Event: flow.Log, Phase: flow.PhaseCase, ID: it.ID, Level: "INFO", Message: fmt.Sprintf("%d: %s", n, line),
		})
	}
	e := flow.Entry{Event: flow.End, Phase: flow.PhaseCase, ID: it.ID, Duration: time.Second, Result: flow.Pass}
	switch {
	case l.Passed:
	case i%50 == 7:
		e.Result, e.Reason, e.Where = flow.Fail, "the driver has not bound the VF", "basic.go:12"
	case i%100 == 33:
		e.Result, e.Reason, e.Blame = flow.Error, "the guest agent does not answer", flow.BlameGuest
	}
	w.entry(e)
}

// A largeJournal writes the journal of a large run.
type largeJournal struct {
	enc *json.Encoder
	at  time.Time
	n   int
	err error
}

func (w *largeJournal) entry(e flow.Entry) {
	w.n++
	w.at = w.at.Add(time.Millisecond)
	e.Seq, e.Time = w.n, w.at
	if err := w.enc.Encode(e); w.err == nil {
		w.err = err
	}
}

func (w *largeJournal) phase(e flow.Entry) {
	e.Event = flow.Begin
	w.entry(e)
	e.Event, e.Duration = flow.End, time.Millisecond
	w.entry(e)
}
