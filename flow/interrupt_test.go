package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The first and the second interrupt work in each phase.
func TestInterrupt(t *testing.T) {
	for _, tt := range []struct {
		place         string
		heed, kill    bool
		trace         string
		results       string
		reason, cased string // of the end of the interrupted phase
	}{
		{"set-up 1", true, false, "set-up 1; undo", "notrun notrun", "interrupted: context canceled", "set-up"},
		{
			"one", true, false, "set-up 1; one; tear-down 1; undo", "incomplete notrun",
			"interrupted\ncontext canceled", "one",
		},
		{
			"one", false, false, "set-up 1; one; tear-down 1; undo", "incomplete notrun",
			"interrupted and did not return; abandoned", "one",
		},
		{
			"reset 1", true, false, "set-up 1; one; reset 1; tear-down 1; undo", "pass notrun",
			"interrupted: context canceled", "reset",
		},
		{
			"tear-down 1", false, false, "set-up 1; one; reset 1; two; tear-down 1; undo", "pass pass",
			"missed its deadline of 1 min and did not return; abandoned", "tear-down",
		},
		{
			"set-up 1", false, true, "set-up 1; undo", "notrun notrun", "interrupted and did not return; abandoned",
			"set-up",
		},
		{
			"one", true, true, "set-up 1; one; tear-down 1; undo", "incomplete notrun", "interrupted\ncontext canceled",
			"one",
		},
		{
			"one", false, true, "set-up 1; one; undo", "incomplete notrun",
			"interrupted and did not return; abandoned", "one",
		},
		{
			"reset 1", false, true, "set-up 1; one; reset 1; undo", "pass notrun",
			"interrupted and did not return; abandoned", "reset",
		},
		{
			"tear-down 1", false, true, "set-up 1; one; reset 1; two; tear-down 1; undo", "pass pass",
			"interrupted again: killed and did not return; abandoned", "tear-down",
		},
	} {
		t.Run(fmt.Sprintf("%s heeds %v kill %v", tt.place, tt.heed, tt.kill), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, interrupt := context.WithCancel(t.Context())
				kill := make(chan struct{})
				release := make(chan struct{})
				s := &script{do: do{tt.place: func(ctx context.Context, _ *Env, _ *T) error {
					interrupt()
					if tt.kill {
						time.AfterFunc(3*time.Second, func() { close(kill) })
					}
					if tt.heed {
						<-ctx.Done()
						return ctx.Err()
					}
					<-release
					return nil
				}}}
				start := time.Now()
				got := s.run(ctx, t, Options{Kill: kill}, "")
				took := time.Since(start)
				close(release)
				if strings.Join(s.trace, "; ") != tt.trace || got.results() != tt.results ||
					got.ExitCode() != ExitInterrupted {
					t.Errorf(
						"trace %q, results %s, exit code %d; want %s, %s", s.trace, got.results(), got.ExitCode(),
						tt.trace, tt.results,
					)
				}
				if e := got.end(t, tt.cased); e.Reason != tt.reason {
					t.Errorf("reason %q, want %q", e.Reason, tt.reason)
				}
				if !tt.heed && tt.kill && took != 4*time.Second {
					t.Errorf("killed after %v, want 4 s", took)
				}
				if tt.kill {
					time.Sleep(5 * time.Second) // lets the timer fire if the run ended before it
				}
			})
		})
	}
}

// The deadline of the run aborts it in order.
func TestRunDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{do: do{"one": heeds}}
		got := s.run(t.Context(), t, Options{Timeout: 30 * time.Second, TimeoutScale: 3}, "", "b")
		if got.results() != "incomplete notrun notrun notrun" || got.ExitCode() != ExitAborted ||
			got.Duration != 30*time.Second {
			t.Errorf("results %s, exit code %d after %v", got.results(), got.ExitCode(), got.Duration)
		}
		if want := "the run missed its deadline of 30 s"; got.Stopped != want {
			t.Errorf("stopped: %q, want %q", got.Stopped, want)
		}
	})
}

// If the host cannot be restored, the run ends: later results could not be trusted.
func TestNotRestored(t *testing.T) {
	s := &script{undo: fakeUndo{err: errors.New("sriov_numvfs is 2")}}
	got := s.run(t.Context(), t, Options{}, "a", "b")
	if got.results() != "pass pass notrun notrun" || got.ExitCode() != ExitNotRestored ||
		got.Unrestored != "sriov_numvfs is 2" {
		t.Errorf("results %s, exit code %d, unrestored %q", got.results(), got.ExitCode(), got.Unrestored)
	}
}

// The most important exit code wins.
func TestExitCode(t *testing.T) {
	s := Summary{
		Unrestored: "x", Interrupt: true, Stopped: "x", Counts: map[Result]int{Fail: 1, Error: 1, Pass: 1, Skip: 1},
	}
	var codes []int
	for _, less := range []func(){
		func() {}, func() { s.Unrestored = "" }, func() { s.Interrupt = false }, func() { s.Stopped = "" },
		func() { s.Counts[Fail] = 0; s.Counts[Timeout] = 1 }, func() { s.Counts[Timeout] = 0 },
		func() { s.Counts[Error] = 0; s.Errors = 1 }, func() { s.Errors = 0; s.Counts[Incomplete] = 1 },
		func() { s.Counts[Incomplete] = 0 },
	} {
		less()
		codes = append(codes, s.ExitCode())
	}
	want := []int{
		ExitNotRestored, ExitInterrupted, ExitAborted, ExitFail, ExitFail, ExitError, ExitError, ExitError, ExitPass,
	}
	if !slices.Equal(codes, want) {
		t.Errorf("exit codes %v, want %v", codes, want)
	}
}
