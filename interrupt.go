package vmtb

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"vmtb/flow"
)

// endings are the signals that end a command. Whoever started us below nohup wants us to survive the terminal, and asking for
// SIGHUP would undo that.
func endings() []os.Signal {
	list := []os.Signal{unix.SIGINT, unix.SIGTERM}
	if !signal.Ignored(unix.SIGHUP) {
		list = append(list, unix.SIGHUP)
	}
	return list
}

// untilInterrupted is for commands that change little: the first signal ends the context, the second one us.
func untilInterrupted(parent context.Context) (ctx context.Context, stop func()) {
	ctx, stop = signal.NotifyContext(parent, endings()...)
	context.AfterFunc(ctx, stop)
	signal.Ignore(unix.SIGPIPE) // a reader that goes away must not keep the host from being put back
	return ctx, stop
}

// interrupts turns the [endings] into the three levels of a run's end: the first cancels the context (tear
// down and report), the second closes kill (machines killed, the host put back from the journal), the third leaves.
func interrupts(parent context.Context, w io.Writer) (ctx context.Context, kill <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	second := make(chan struct{})
	signal.Ignore(unix.SIGPIPE) // a reader that goes away (vmtb run | head) must not keep the host from being put back
	signals := make(chan os.Signal, 3)
	signal.Notify(signals, endings()...)
	done := make(chan struct{})
	go func() {
		for n := 1; ; n++ {
			select {
			case <-done:
				return
			case s := <-signals:
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
			}
		}
	}()
	return ctx, second, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}
