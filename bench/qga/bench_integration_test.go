//go:build integration

package qga_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"vmtb/bench"
	"vmtb/bench/qga"
)

// BenchmarkExec measures `true` from start to result; "floor" is what busy asking over a bare socket gives, by turns
// with it.
func BenchmarkExec(b *testing.B) {
	ctx := context.Background()
	bare := bareExec(b)
	c := startAgent(b).dial(ctx, qga.Options{})
	cmd := bench.Command{Argv: []string{"true"}}
	if _, err := c.Exec(ctx, cmd); err != nil {
		b.Fatal(err)
	}
	var times, floors []time.Duration
	for b.Loop() {
		began := time.Now()
		if r, err := c.Exec(ctx, cmd); err != nil || !r.OK() {
			b.Fatal(r, err)
		}
		times = append(times, time.Since(began))
		began = time.Now()
		bare()
		floors = append(floors, time.Since(began))
	}
	median, floor := middle(times), middle(floors)
	b.ReportMetric(float64(median.Microseconds()), "µs/median")
	b.ReportMetric(float64(floor.Microseconds()), "µs/floor")
	b.ReportMetric(float64(median)/float64(floor), "ratio")
}

func middle(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// bareExec runs true without a client.
func bareExec(b *testing.B) func() {
	b.Helper()
	a := startAgent(b)
	_ = a.dial(context.Background(), qga.Options{}).Close() // it is up
	conn, err := net.Dial("unix", a.socket())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	buf := make([]byte, 64<<10)
	ask := func(format string, args ...any) string {
		if _, err := fmt.Fprintf(conn, format, args...); err != nil {
			b.Fatal(err)
		}
		n, err := conn.Read(buf)
		if err != nil {
			b.Fatal(err)
		}
		return string(buf[:n])
	}
	return func() {
		var started struct{ Return struct{ PID int } }
		reply := ask(`{"execute": "guest-exec", "arguments": {"path": "true", "capture-output": true}}` + "\n")
		if err := json.Unmarshal([]byte(reply), &started); err != nil {
			b.Fatal(err)
		}
		for status := ""; !strings.Contains(status, `"exited": true`); {
			status = ask(`{"execute": "guest-exec-status", "arguments": {"pid": %d}}`+"\n", started.Return.PID)
		}
	}
}
