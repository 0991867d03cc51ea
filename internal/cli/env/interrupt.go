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

// EndSignals are the signals that end a command. Whoever started us below nohup wants us to survive the terminal, and asking for
// SIGHUP would undo that.
func EndSignals() []os.Signal {
	list := []os.Signal{unix.SIGINT, unix.SIGTERM}
	if !signal.Ignored(unix.SIGHUP) {
		list = append(list, unix.SIGHUP)
	}
	return list
}

// sameRequest is how long after a signal that counts another one of its kind is the same request. timeout(1) signals its
// child and then the child's process group, and a terminal that closes signals us beside our shell: one request comes twice,
// milliseconds apart. A person who wants more presses Ctrl-C again.
const sameRequest = 250 * time.Millisecond

// requests is when a signal of each kind last counted as a request to end.
type requests map[os.Signal]time.Time

// another reports whether a signal that came at now is a request of its own.
func (r requests) another(s os.Signal, now time.Time) bool {
	if at, ok := r[s]; ok && now.Sub(at) < sameRequest {
		return false
	}
	r[s] = now
	return true
}

// onRequests calls do, in a goroutine, with each request to end: its number, from 1 on, and its signal.
func onRequests(do func(n int, s os.Signal)) (stop func()) {
	signal.Ignore(unix.SIGPIPE) // a reader that goes away (vmtb run | head) must not keep the host from being put back
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

// CancelOnInterrupt is for commands that put back at once what they have changed: the first request ends the context, the
// second one ends this process as its signal does by default.
func CancelOnInterrupt(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	end := onRequests(func(n int, s os.Signal) {
		cancel()
		if sig, ok := s.(unix.Signal); ok && n > 1 {
			signal.Reset(s)
			_ = unix.Kill(os.Getpid(), sig) // which cannot fail
		}
	})
	return ctx, func() { end(); cancel() }
}

// EndInOrder turns the [endings] into the three levels of a run's end: the first request cancels the context (tear down and
// report), the second closes kill (machines killed, the host put back from the journal), the third leaves. Only for commands
// that heed kill.
func EndInOrder(parent context.Context, w io.Writer) (ctx context.Context, kill <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	second := make(chan struct{})
	end := onRequests(func(n int, s os.Signal) {
		switch n {
		case 1:
			fmt.Fprintf(w, "\nvmtb: %v: ending in order (once more: kill the machines and put the host back at once)\n", s)
			cancel()
		case 2:
			fmt.Fprintf(w, "\nvmtb: %v: killing (once more: leave the host as it is)\n", s)
			close(second)
		default:
			fmt.Fprintf(w, "\nvmtb: %v: leaving; \"vmtb recover\" puts the host back, \"vmtb resume\" with the run directory goes on\n", s)
			os.Exit(flow.ExitInterrupted) //nolint:forbidigo // that is what the third one asks for
		}
	})
	return ctx, second, func() { end(); cancel() }
}
