package env

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vmtb/flow"
)

// A command under nohup does not end when its terminal closes.
func TestEndSignals(t *testing.T) {
	if !signal.Ignored(unix.SIGHUP) {
		if !slices.Contains(EndSignals(), os.Signal(unix.SIGHUP)) {
			t.Error("SIGHUP does not end a command")
		}
		t.Cleanup(func() { signal.Reset(unix.SIGHUP) })
	}
	signal.Ignore(unix.SIGHUP)
	if got, want := EndSignals(), []os.Signal{unix.SIGINT, unix.SIGTERM}; !slices.Equal(got, want) {
		t.Errorf("with SIGHUP ignored %v, want %v", got, want)
	}
}

func TestRequests(t *testing.T) {
	type signalAt struct {
		s    os.Signal
		at   time.Duration
		want bool
	}
	for name, signals := range map[string][]signalAt{
		"timeout(1), to us and to our group": {
			{unix.SIGTERM, 0, true}, {unix.SIGTERM, 5 * time.Millisecond, false},
		},
		"a person": {
			{unix.SIGINT, 0, true}, {unix.SIGINT, 400 * time.Millisecond, true}, {unix.SIGINT, time.Second, true},
		},
		"a key held down, or somebody in a hurry": {
			{unix.SIGINT, 0, true},
			{unix.SIGINT, 130 * time.Millisecond, false},
			{unix.SIGINT, 260 * time.Millisecond, true},
		},
		"Ctrl-C, and then somebody's kill": {
			{unix.SIGINT, 0, true},
			{unix.SIGTERM, 5 * time.Millisecond, true},
			{unix.SIGINT, 9 * time.Millisecond, false},
		},
	} {
		r := requests{}
		start := time.Now()
		for i, s := range signals {
			if got := r.another(s.s, start.Add(s.at)); got != s.want {
				t.Errorf("%s: signal %d counts: %v, want %v", name, i+1, got, s.want)
			}
		}
	}
}

// TestSignals sends signals to a process that shuts down in order, by each of the two functions.
func TestSignals(t *testing.T) {
	if how := os.Getenv("VMTB_TEST_SIGNALS"); how != "" {
		obedient(how)
		return
	}
	for _, how := range []string{"until", "levels"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			for _, more := range []bool{false, true} {
				cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSignals$")
				cmd.Env = append(os.Environ(), "VMTB_TEST_SIGNALS="+how)
				in, err := cmd.StdinPipe()
				out, err2 := cmd.StdoutPipe()
				if err := errors.Join(err, err2, cmd.Start()); err != nil {
					t.Fatal(err)
				}
				lines := bufio.NewReader(out)
				say := func(want string) {
					t.Helper()
					if line, err := lines.ReadString('\n'); line != want+"\n" {
						t.Fatalf("%q, %v, want %q", line, err, want)
					}
				}
				say("ready")
				for range 2 { // like timeout(1)
					if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
						t.Fatal(err)
					}
				}
				say("ending in order")
				if more {
					impatient(t, cmd, how, say)
					continue
				}
				in.Close() // the clean-up waits for this
				say("in order")
				if err := cmd.Wait(); err != nil {
					t.Errorf("after one request: %v", err)
				}
			}
		})
	}
}

// impatient presses Ctrl-C until the process ends, and checks how it ended.
func impatient(t *testing.T, cmd *exec.Cmd, how string, say func(string)) {
	t.Helper()
	pressing, stop := context.WithCancel(t.Context())
	var presses sync.WaitGroup
	presses.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for pressing.Err() == nil {
			_ = cmd.Process.Signal(unix.SIGINT) // the process may have ended
			select {
			case <-tick.C:
			case <-pressing.Done():
			}
		}
	})
	if how == "levels" {
		say("killing")
	}
	err := cmd.Wait()
	stop()
	presses.Wait()
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if how == "until" && (!status.Signaled() || status.Signal() != unix.SIGINT) {
		t.Errorf("after a second request: %v, want that the signal ended it", err)
	}
	if how == "levels" && status.ExitStatus() != flow.ExitInterrupted {
		t.Errorf("after a third request: %v, want exit code %d", err, flow.ExitInterrupted)
	}
}

// obedient is a command that shuts down in order on request. Its clean-up takes until its input
// ends.
func obedient(how string) {
	ctx, stop := CancelOnInterrupt(context.Background())
	var kill <-chan struct{}
	if how == "levels" {
		stop()
		ctx, kill, stop = EndInOrder(context.Background(), io.Discard)
	}
	defer stop()
	fmt.Println("ready")
	<-ctx.Done()
	fmt.Println("ending in order")
	if kill != nil {
		go func() {
			<-kill
			fmt.Println("killing")
		}()
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	fmt.Println("in order")
}
