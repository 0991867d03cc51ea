package report

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"vmtb/flow"
	"vmtb/report/reporttest"
)

// writeSite writes the pages of a run into the run directory, and returns the directory of the
// pages.
func writeSite(t testing.TB, run *flow.RunDir) string {
	t.Helper()
	spec, err := ParseSpec("html")
	if err != nil {
		t.Fatal(err)
	}
	r, err := spec.Open(Options{Dir: run.Info.Dir})
	if err == nil {
		err = Replay(r, run)
	}
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(run.Info.Dir, "html")
}

// Every format reads only the ends of logs of 100 MB: no report grows with them, in memory or on
// disk.
func TestLargeLogs(t *testing.T) {
	run := reporttest.MixedRun().Open(t)
	const size = 100 << 20
	names := []string{
		"01-b/fixture-1/vm0/console.log", "01-b/fixture-1/vm0/qmp.jsonl", "01-b/fixture-1/vm0/qga.jsonl",
		"01-b/fixture-1/vm0/stderr.log",
		"05-m/test_save/dmesg.txt", "05-m/test_restore/dmesg.txt", "06-m/test_save/goroutines.txt",
	}
	for _, name := range names {
		f, err := os.OpenFile(filepath.Join(run.Info.Dir, name), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt([]byte("\n<3>[ 1.0] the last line\n"), size) // zeros are before it
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
	dir := writeSite(t, run)
	for _, name := range reporttest.Pages(t, dir) {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		total += int(info.Size())
		reporttest.Walk(t, name)
	}
	runtime.ReadMemStats(&after)
	allocated := after.TotalAlloc - before.TotalAlloc
	t.Logf("%v, %d MiB allocated, %d KiB written", time.Since(began), allocated>>20, total>>10)
	if took := time.Since(began); took > 20*time.Second { // 0.2 s on a quiet machine; copying takes minutes
		t.Errorf("took %v", took)
	}
	if allocated > 400<<20 || total > 4<<20 {
		t.Errorf("%d MiB allocated, %d KiB written", allocated>>20, total>>10)
	}
}
