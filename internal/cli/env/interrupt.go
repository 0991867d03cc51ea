package env

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"vmtb/flow"
)

// EndSignals returns the signals that end a command. A user who starts vmtb with nohup wants it to
// survive the terminal. Then SIGHUP is not among the signals, because a handler would undo nohup.
func EndSignals() []os.Signal {
	list := []os.Signal{unix.SIGINT, unix.SIGTERM}
	if !signal.Ignored(unix.SIGHUP) {
		list = append(list, unix.SIGHUP)
	}
	return list
}

// sameRequest is the time after a signal in which another signal of its kind counts as the same
// request. timeout(1) signals its child and then the child's process group. When a terminal closes,
// both it and the shell signal us. So one request arrives twice, milliseconds apart. A person
// presses Ctrl-C again later than that.
const sameRequest = 250 * time.Millisecond

// requests maps each signal to the time when it last counted as a request to end.
type requests map[os.Signal]time.Time

// another reports whether a signal at the time now is a new request.
func (r requests) another(s os.Signal, now time.Time) bool {
	if at, ok := r[s]; ok && now.Sub(at) < sameRequest {
		return false
	}
	r[s] = now
	return true
}

// onRequests calls do, in a goroutine, for each request to end. n is the number of the request,
// from 1 on.
func onRequests(do func(n int, s os.Signal)) (stop func()) {
	// a reader that disconnects (vmtb run | head) must not end us before the host is restored
	signal.Ignore(unix.SIGPIPE)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, EndSignals()...)
	done := make(chan struct{})
	go func() {
		seen := requests{}
		for n := 1; ; {
			select {
			case <-done:
				return
			case s := <-signals:
				if seen.another(s, time.Now()) {
					do(n, s)
					n++
				}
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

// CancelOnInterrupt has two levels. The first request to end cancels the context. The second ends
// this process as its signal does by default. It is for commands that undo their changes at once.
func CancelOnInterrupt(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	end := onRequests(func(n int, s os.Signal) {
		cancel()
		if sig, ok := s.(unix.Signal); ok && n > 1 {
			signal.Reset(s)
			_ = unix.Kill(os.Getpid(), sig) // it cannot fail: the process is our own
		}
	})
	return ctx, func() { end(); cancel() }
}

// EndInOrder has three levels. The first request to end cancels the context (tear down and report).
// The second closes kill (kill the machines, restore the host from the journal). The third ends
// this process. It is for commands that act on kill.
func EndInOrder(parent context.Context, w io.Writer) (ctx context.Context, kill <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	second := make(chan struct{})
	end := onRequests(func(n int, s os.Signal) {
		switch n {
		case 1:
			fmt.Fprintf(
				w, "\nvmtb: %v: ending in order (again: kill the machines and restore the host at once)\n", s,
			)
			cancel()
		case 2:
			fmt.Fprintf(w, "\nvmtb: %v: killing the machines (again: leave the host as it is)\n", s)
			close(second)
		default:
			fmt.Fprintf(
				w,
				"\nvmtb: %v: exiting; \"vmtb recover\" restores the host, \"vmtb resume\" with the run directory "+
					"continues the run\n",
				s,
			)
			os.Exit(flow.ExitInterrupted) //nolint:forbidigo // the third request asks for that
		}
	})
	return ctx, second, func() { end(); cancel() }
}
