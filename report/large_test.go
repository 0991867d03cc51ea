package report

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Logs of 100 MB go through every format by their ends: no report grows with them, in memory or on disk.
func TestLargeLogs(t *testing.T) {
	run := mixedRun().open(t)
	const size = 100 << 20
	names := []string{
		"01-b/fixture-1/vm0/console.log", "01-b/fixture-1/vm0/qmp.jsonl", "01-b/fixture-1/vm0/qga.jsonl", "01-b/fixture-1/vm0/stderr.log",
		"05-m/test_save/dmesg.txt", "05-m/test_restore/dmesg.txt", "06-m/test_save/goroutines.txt",
	}
	for _, name := range names {
		f, err := os.OpenFile(filepath.Join(run.Info.Dir, name), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt([]byte("\n<3>[ 1.0] the last line\n"), size) // zeros before it
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	total := 0
	for _, f := range Formats {
		if f.file == nil {
			continue
		}
		text := write(t, f.Name, run)
		total += len(text)
		if f.Name == "logfile" || f.Name == "results" || f.Name == "junit" {
			if !strings.Contains(text, "the last line") {
				t.Errorf("%s: the end of the log is missing", f.Name)
			}
		}
	}
	dir := writeSite(t, run, nil)
	for _, name := range pagesOf(t, dir) {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		total += int(info.Size())
		walk(t, name)
	}
	runtime.ReadMemStats(&after)
	allocated := after.TotalAlloc - before.TotalAlloc
	t.Logf("%v, %d MiB allocated, %d KiB written", time.Since(began), allocated>>20, total>>10)
	if took := time.Since(began); took > 20*time.Second { // 0.2 s on a quiet machine; one that copies takes minutes
		t.Errorf("took %v", took)
	}
	if allocated > 400<<20 || total > 4<<20 {
		t.Errorf("%d MiB allocated, %d KiB written", allocated>>20, total>>10)
	}
}

// A flow that never stops talking does not fill the memory: the newest lines are kept.
func TestManyLines(t *testing.T) {
	tp := newTape(boot("1VF"))
	id := boot("1VF")
	tp.begin("case", id)
	for range 20000 {
		tp.log("INFO", strings.Repeat("x", 100), id)
		tp.step("step", id, 0, tp.entries[0])
	}
	tp.log("INFO", "the last words", id)
	h := newHistory(tp.info)
	for _, e := range tp.entries {
		h.add(e)
	}
	h.finish()
	p := h.cases[id].last()
	if len(p.steps) > maxSteps || p.logged > maxLog || !strings.HasSuffix(strings.TrimSpace(p.transcript(seconds2)), "the last words") {
		t.Errorf("%d steps, %d bytes of log", len(p.steps), p.logged)
	}
	if p.left != 20001-len(p.log)+20000-maxSteps {
		t.Errorf("%d are said to be left out", p.left)
	}
}
