package flow

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// shm returns a directory in which syncing costs nothing, if there is one.
func shm(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "vmtb-scale")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// manyCases returns n cases in fixtures of 8, each of which writes log lines.
func manyCases(n, lines int) []Item {
	r := NewRegistry()
	line := strings.Repeat("x", 100)
	var cases []Case[*int]
	for i := range 8 {
		cases = append(cases, Case[*int]{Name: fmt.Sprintf("test_%d", i), Func: func(_ context.Context, t *T, _ *int) {
			for range lines {
				t.Logf("%s", line)
			}
		}})
	}
	params := make([]param, (n+7)/8)
	for i := range params {
		params[i] = param(fmt.Sprintf("%dVF", i+1))
	}
	Add(r, "test_many", Class[param, *int]{
		Name: "TestMany", Params: params, Cases: cases,
		Fixture: Fixture[param, *int]{SetUp: func(context.Context, *Env, param) (*int, error) { return new(int), nil }},
	})
	if r.Err() != nil {
		panic(r.Err())
	}
	return r.Items()[:n]
}

// sameForMore fails the test if a count is more than a tenth higher for the larger run.
func sameForMore(t *testing.T, what string, few, many float64) {
	t.Helper()
	t.Logf("%s: %.1f in the small run, %.1f in the large one", what, few, many)
	if many > 1.1*few+1 {
		t.Errorf("%s grow with the run: %.1f, then %.1f", what, few, many)
	}
}

// The engine's work for a case does not depend on how many cases there are, and no goroutines stay.
func TestScaleEngine(t *testing.T) {
	allocations := func(n int) float64 {
		items := manyCases(n, 5)
		goroutines, most := runtime.NumGoroutine(), 0
		count := func(Entry) { most = max(most, runtime.NumGoroutine()) }
		o := Options{Dir: filepath.Join(shm(t), "run"), Observer: count}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		sum, err := Run(t.Context(), items, o)
		runtime.ReadMemStats(&after)
		if err != nil || sum.Counts[Pass] != n {
			t.Fatalf("%+v, %v", sum, err)
		}
		if most > goroutines+3 { // the runner's own, and the case's
			t.Errorf("%d cases: %d goroutines, %d before", n, most, goroutines)
		}
		return float64(after.Mallocs-before.Mallocs) / float64(n)
	}
	allocations(16) // what is made once
	sameForMore(t, "allocations of Run for a case", allocations(160), allocations(1600))
}

// What OpenRun holds does not depend on how much flows log.
func TestScaleOpenRun(t *testing.T) {
	held := func(lines int) float64 {
		dir := filepath.Join(shm(t), "run")
		if _, err := Run(t.Context(), manyCases(16, lines), Options{Dir: dir}); err != nil {
			t.Fatal(err)
		}
		run, err := OpenRun(dir)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(all(t, run)) - len(run.Entries); n != 16*lines {
			t.Errorf("%d log lines, want %d", n, 16*lines)
		}
		run = nil
		before := liveHeap()
		if run, err = OpenRun(dir); err != nil {
			t.Fatal(err)
		}
		bytes := liveHeap() - before
		runtime.KeepAlive(run)
		return float64(bytes)
	}
	held(5) // what is made once
	sameForMore(t, "bytes that OpenRun holds", held(5), held(500))
}

// liveHeap returns the bytes of all objects that are in use. Pools lose theirs in two collections.
func liveHeap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// cpuTime returns the CPU time of this process so far. A machine that has other things to do changes
// it less than the time on the clock.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkEngine measures a case: with the journal on this machine's disk, and where syncing costs
// nothing.
func BenchmarkEngine(b *testing.B) {
	for name, dir := range map[string]string{"disk": b.TempDir(), "memory": shm(b)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			run := filepath.Join(dir, fmt.Sprint(time.Now().UnixNano()))
			items := manyCases(max(8, b.N), 5)
			began := cpuTime(b)
			b.ResetTimer()
			if _, err := Run(b.Context(), items, Options{Dir: run}); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64((cpuTime(b)-began).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// BenchmarkResume measures the resumption of a run of 10,000 cases that was interrupted at its end.
func BenchmarkResume(b *testing.B) {
	items := manyCases(10_000, 5)
	for b.Loop() {
		b.StopTimer()
		dir := filepath.Join(shm(b), "run")
		ctx, cancel := context.WithCancel(b.Context())
		n := 0
		o := Options{Dir: dir, Observer: func(e Entry) {
			if e.Phase == PhaseCase && e.Event == End && e.Result == Pass {
				if n++; n == len(items)-8 {
					cancel()
				}
			}
		}}
		if _, err := Run(ctx, items, o); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		sum, err := Resume(b.Context(), items, Options{Dir: dir})
		if err != nil || sum.Counts[Pass] != len(items) {
			b.Fatalf("%+v, %v", sum, err)
		}
	}
}

// BenchmarkMerge measures the merge of two runs, a time for each of their cases.
func BenchmarkMerge(b *testing.B) {
	for _, n := range []int{500, 1000, 2000} {
		b.Run(fmt.Sprintf("cases=%d", n), func(b *testing.B) {
			base := shm(b)
			var parts []Part
			for _, name := range []string{"one", "two"} {
				dir := filepath.Join(base, name)
				if _, err := Run(b.Context(), manyCases(n, 50), Options{Dir: dir, DUT: name}); err != nil {
					b.Fatal(err)
				}
				parts = append(parts, Part{Dir: dir})
			}
			out := 0
			began := cpuTime(b)
			for b.Loop() {
				out++
				o := MergeOptions{Parts: parts, Out: filepath.Join(base, fmt.Sprint(out))}
				if _, err := Merge(b.Context(), o); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpuTime(b)-began).Microseconds())/float64(b.N)/float64(2*n), "cpu-µs/case")
		})
	}
}
