package report

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"vmtb/flow"
	"vmtb/report/html"
	"vmtb/report/reporttest"
)

// heldBy returns the largest number of bytes of live heap while a report of a run is made. It
// samples the heap at some of the report's writes and opened files.
func heldBy(t *testing.T, f Format, path string) (most int64) {
	t.Helper()
	run, err := flow.OpenRun(path)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	look := func() {
		if n++; n%50 != 1 {
			return
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most = max(most, int64(m.HeapAlloc))
	}
	dir := lookingFS{os.DirFS(run.Info.Dir).(fs.ReadDirFS), look}
	var r Report
	if f.file != nil {
		r = f.file(lookingWriter(look), dir)
	} else {
		if r, err = html.New(t.TempDir(), html.Options{Run: dir, Dir: run.Info.Dir}); err != nil {
			t.Fatal(err)
		}
	}
	if err := Replay(r, run); err != nil {
		t.Fatal(err)
	}
	return most
}

type lookingWriter func()

func (w lookingWriter) Write(p []byte) (int, error) {
	w()
	return len(p), nil
}

type lookingFS struct {
	fs.ReadDirFS
	look func()
}

func (f lookingFS) Open(name string) (fs.File, error) {
	f.look()
	return f.ReadDirFS.Open(name)
}

// Logs that are 100 times as large do not increase the memory of a report, except for the end of
// one case's log.
func TestScaleReports(t *testing.T) {
	const cases, lines, size = 48, 20, 10_000
	write := func(size int) (path string) {
		path = filepath.Join(t.TempDir(), "run")
		reporttest.Large{Cases: cases, Log: func(int) (int, int) { return lines, size }}.Write(t, path)
		return path
	}
	small, large := write(size/100), write(size)
	const logs = cases * lines * size
	for _, f := range Formats {
		before, after := heldBy(t, f, small), heldBy(t, f, large)
		t.Logf("%s: %d KB with small logs, %d KB with large logs of %d KB", f.Name, before>>10, after>>10, logs>>10)
		if after-before > logs/10 {
			t.Errorf("%s holds %d KB of logs of %d KB", f.Name, (after-before)>>10, logs>>10)
		}
	}
}

// BenchmarkScale measures commands that read run directories, on runs of 10,000 cases with small
// and with large logs. Each command is a process of its own. VMTB names the program: VMTB=bin/vmtb.
// "make bench-scale" calls it.
func BenchmarkScale(b *testing.B) {
	vmtb := os.Getenv("VMTB")
	if vmtb == "" {
		b.Skip("set VMTB to the vmtb to measure")
	}
	const cases = 10_000
	large := func(i int) (lines, size int) {
		switch {
		case i%1000 == 500:
			return 100_000, 100 // 10 MB
		case i%10 == 5:
			return 1000, 100 // 100 KB
		}
		return 5, 100
	}
	for _, logs := range []struct {
		name string
		run  reporttest.Large
	}{
		{"small", reporttest.Large{Cases: cases, Console: 64 << 10}},
		{"large", reporttest.Large{Cases: cases, Console: 10 << 20, Log: large}},
	} {
		dir := b.TempDir()
		one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
		size := logs.run.Write(b, one)
		logs.run.Write(b, two)
		b.Logf("logs=%s: a journal of %d MB", logs.name, size/1_000_000)
		commands := [][]string{
			{"terminal", "report", one},
			{"compare", "report", "--compare=" + two, one},
			{"merge", "merge", "-o", filepath.Join(dir, "merged"), one, two},
		}
		for _, f := range Formats {
			commands = append(commands, []string{f.Name, "report", "--report=" + f.Name, one})
		}
		for _, c := range commands {
			b.Run("logs="+logs.name+"/"+c[0], func(b *testing.B) { measure(b, vmtb, c[1:]...) })
		}
	}
}

// BenchmarkStart measures the start of commands, as the mean of 20 processes.
func BenchmarkStart(b *testing.B) {
	vmtb := os.Getenv("VMTB")
	if vmtb == "" {
		b.Skip("set VMTB to the vmtb to measure")
	}
	for _, c := range [][]string{
		{"list", "list"}, {"help", "--help"}, {"completion", "__complete", "run", "test_b"}, {"version", "version"},
	} {
		b.Run(c[0], func(b *testing.B) { measure(b, vmtb, c[1:]...) })
	}
}

// measure runs a command b.N times.
func measure(b *testing.B, name string, args ...string) {
	var rss int64
	var cpu time.Duration
	for b.Loop() {
		if args[0] == "merge" {
			_ = os.RemoveAll(args[2])
		}
		cmd := exec.Command(name, args...)
		err := cmd.Run()
		if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			rss = max(rss, usage.Maxrss)
			cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		}
		if code := cmd.ProcessState.ExitCode(); code != 0 && args[0] != "merge" {
			b.Fatalf("%v: %v", args, err)
		}
	}
	b.ReportMetric(float64(rss)/1000, "MB-peak")
	b.ReportMetric(cpu.Seconds()*1000/float64(b.N), "cpu-ms/op")
	b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms/op")
	b.ReportMetric(0, "ns/op")
}
