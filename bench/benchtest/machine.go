package benchtest

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"vmtb/bench"
)

// Machine runs all tests on m. They use their own directory and remove it.
func Machine(t *testing.T, m bench.Machine) {
	t.Helper()
	if m.String() == "" {
		t.Error("the machine has no name")
	}
	dir := "/tmp/benchtest-" + rand.Text()
	run(t, m, "mkdir "+dir)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if r, err := m.Exec(ctx, bench.Shell("rm -rf "+dir)); err != nil || !r.OK() {
			t.Errorf("remove %s: %+v, %v", dir, r, err)
		}
	})
	for name, test := range map[string]func(*testing.T, bench.Machine, string){
		"exec": testExec, "not started": testNotStarted, "timeout": testTimeout, "at once": testAtOnce,
		"big output": testBigOutput,
		"input":      testInput, "cut": testCut,
		"streams": testStreams, "huge": testHuge, "one writer": testOneWriter, "live": testLive,
		"writer fails":    testWriterFails,
		"streams at once": testStreamsAtOnce,
		"signals":         testSignals, "wait": testWait, "kill": testKill,
		"files": testFiles, "missing": testMissing, "directory": testReadDir, "proc": testProc,
	} {
		t.Run(name, func(t *testing.T) { test(t, m, dir) })
	}
}

// run runs a command line that must succeed.
func run(t *testing.T, m bench.Machine, line string) {
	t.Helper()
	r, err := m.Exec(t.Context(), bench.Shell(line))
	if err == nil {
		err = r.Err(bench.Shell(line))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
