//go:build integration

package vm

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// BenchmarkPowerOn measures n machines, started at once, until all are ready. "floor" starts the
// same QEMUs without package vm, in turns with them.
func BenchmarkPowerOn(b *testing.B) {
	for _, n := range []int{1, 4} {
		b.Run(fmt.Sprintf("%d machines", n), func(b *testing.B) {
			var times, floors []time.Duration
			for b.Loop() {
				times = append(times, atOnce(b, n, powerOnce))
				floors = append(floors, atOnce(b, n, byHand))
			}
			slices.Sort(times)
			slices.Sort(floors)
			median, floor := times[len(times)/2], floors[len(floors)/2]
			b.ReportMetric(median.Seconds(), "s/median")
			b.ReportMetric(floor.Seconds(), "s/floor")
			b.ReportMetric(float64((median - floor).Milliseconds()), "ms/added")
			b.ReportMetric(float64(median)/float64(floor), "ratio")
		})
	}
}

// atOnce starts n machines and returns the time until all are ready. Their end is not part of it.
func atOnce(
	b *testing.B, n int, start func(ctx context.Context, s Spec, dir string) (end func() error, err error),
) time.Duration {
	b.Helper()
	base, err := os.MkdirTemp("", "vm")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(base)
	ends := make([]func() error, n)
	group, ctx := errgroup.WithContext(context.Background())
	began := time.Now()
	for i := range n {
		group.Go(func() (err error) {
			s := Spec{
				Name: fmt.Sprintf("vm%d", i), Accel: "tcg", MemoryMiB: 256,
				Kernel: &Kernel{
					Image: os.Getenv("VMTB_TEST_KERNEL"), Initrd: os.Getenv("VMTB_TEST_INITRD"),
					Cmdline: "console=ttyS0 panic=-1 cryptomgr.notests mitigations=off",
				},
			}
			ends[i], err = start(ctx, s, filepath.Join(base, s.Name))
			return err
		})
	}
	err = group.Wait()
	took := time.Since(began)
	for _, end := range ends {
		if end != nil {
			if err := end(); err != nil {
				b.Error(err)
			}
		}
	}
	if err != nil {
		b.Fatal(err)
	}
	return took
}

// powerOnce starts a machine with package vm.
func powerOnce(ctx context.Context, s Spec, dir string) (func() error, error) {
	m, err := Start(ctx, s, Options{Dir: dir, SocketDir: dir})
	if err != nil {
		return nil, err
	}
	return func() error { return m.Close(context.Background()) }, m.WaitReady(ctx)
}

// byHand starts the same QEMU, reads its events as they come, and waits until the agent answers.
func byHand(ctx context.Context, s Spec, dir string) (func() error, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	argv := s.Args(Layout{Accel: s.Accel, Sockets: dir, Console: filepath.Join(dir, "console.log")})
	qemu := exec.CommandContext(ctx, argv[0], argv[1:]...)
	if err := qemu.Start(); err != nil {
		return nil, err
	}
	end := func() error {
		_ = qemu.Process.Kill()
		_ = qemu.Wait() // killed above
		return nil
	}
	monitor, err := dial(ctx, filepath.Join(dir, qmpSocket))
	if err != nil {
		return end, err
	}
	defer monitor.Close()
	lines := bufio.NewReader(monitor)
	for _, cmd := range []string{"qmp_capabilities", "cont"} {
		if _, err := fmt.Fprintf(monitor, `{"execute":%q}`+"\n", cmd); err != nil {
			return end, err
		}
	}
	if err := readUntil(lines, `"VSERPORT_CHANGE"`, `"open": true`); err != nil {
		return end, err
	}
	agent, err := net.Dial("unix", filepath.Join(dir, agentSocket))
	if err != nil {
		return end, err
	}
	defer agent.Close()
	if _, err := fmt.Fprint(
		agent, "\xff"+`{"execute":"guest-sync-delimited","arguments":{"id":4711}}`+"\n",
	); err != nil {
		return end, err
	}
	return end, readUntil(bufio.NewReader(agent), "4711")
}

func readUntil(r *bufio.Reader, words ...string) error {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			return nil
		}
	}
}
