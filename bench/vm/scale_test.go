package vm_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vmtb/bench/vm"
	"vmtb/internal/fake/fakeqemu"
)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// A usage is the cost of a number of machines for this process.
type usage struct {
	goroutines, files int
	heap              int64         // live bytes
	cpu               time.Duration // from the first start to the last end
}

// startMany starts n machines with fake QEMUs at once, and waits until they are ready. It measures
// this process, then ends the machines.
func startMany(t testing.TB, n int) usage {
	t.Helper()
	base, err := os.MkdirTemp("", "vm") // short: sockets are in it
	ok(t, err)
	t.Cleanup(func() { os.RemoveAll(base) })
	kernel := filepath.Join(base, "kernel")
	ok(t, os.WriteFile(kernel, nil, 0o600))
	before := look(t)
	machines := make([]*vm.VM, n)
	forEach(n, func(i int) {
		name := fmt.Sprintf("vm%d", i)
		s := vm.Spec{
			Name: name, QEMU: "/proc/self/exe", Accel: "kvm", Kernel: &vm.Kernel{Image: kernel},
			Extra: []string{fakeqemu.Flag, "agent dir=" + base},
		}
		// The usual deadlines are for one machine on a quiet host. Here many processes start at
		// once.
		o := vm.Options{Dir: filepath.Join(base, name), SocketDir: filepath.Join(base, "run"), Scale: 20}
		m, err := vm.Start(t.Context(), s, o)
		if err == nil {
			machines[i], err = m, m.WaitReady(t.Context())
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	ready := look(t)
	forEach(n, func(i int) {
		if m := machines[i]; m != nil {
			ok(t, m.Close(context.Background()))
		}
	})
	after := look(t)
	if after.files > before.files {
		t.Errorf("%d machines: %d files are open afterwards, %d before", n, after.files, before.files)
	}
	return usage{
		ready.goroutines - before.goroutines, ready.files - before.files, ready.heap - before.heap,
		after.cpu - before.cpu,
	}
}

func forEach(n int, do func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { do(i) })
	}
	all.Wait()
}

// look returns the current usage of this process.
func look(t testing.TB) usage {
	t.Helper()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var u unix.Rusage
	ok(t, unix.Getrusage(unix.RUSAGE_SELF, &u))
	files, err := os.ReadDir("/proc/self/fd")
	ok(t, err)
	cpu := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	return usage{runtime.NumGoroutine(), len(files), int64(m.HeapAlloc), cpu}
}

// The number of goroutines and open files per machine is the same for any number of machines.
func TestScaleMachines(t *testing.T) {
	startMany(t, 1) // allocates what is allocated only once
	few, many := startMany(t, 2), startMany(t, 6)
	t.Logf("2 machines: %+v; 6 machines: %+v", few, many)
	const spare = 3 // goroutines that are about to end
	if many.goroutines > 3*few.goroutines+spare || many.files > 3*few.files {
		t.Errorf("6 machines have %d goroutines and %d files, 2 have %d and %d",
			many.goroutines, many.files, few.goroutines, few.files)
	}
}

// BenchmarkMachines measures the cost of n machines at once for this process.
func BenchmarkMachines(b *testing.B) {
	startMany(b, 1)
	for _, n := range []int{1, 7, 21, 63} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			var l usage
			for b.Loop() {
				l = startMany(b, n)
			}
			each := float64(n)
			b.ReportMetric(float64(l.goroutines)/each, "goroutines/vm")
			b.ReportMetric(float64(l.files)/each, "files/vm")
			b.ReportMetric(float64(l.heap)/1000/each, "kB-heap/vm")
			b.ReportMetric(l.cpu.Seconds()*1000/each, "cpu-ms/vm")
			b.ReportMetric(rss(b), "MB-peak")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// rss returns the peak memory of this process in MB.
func rss(b *testing.B) float64 {
	b.Helper()
	var u unix.Rusage
	ok(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return float64(u.Maxrss) / 1000
}
