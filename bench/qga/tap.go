package qga

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"vmtb/bench"
)

// A tap brings the output of a process to its writers, and removes its room after the end of both.
// It does not give up while the agent is silent, for the machine may be paused: it tells those who
// wait.
type tap struct {
	p      *Process
	rings  []*ring
	stop   context.CancelFunc
	silent chan error // for somebody who waits

	// done is closed when the process has ended, its output has arrived and the room is removed, or
	// when the client gives the process up.
	done chan struct{}
	err  error // of a writer, or of the way there
}

// tapInto begins to bring p's output to the writers of cmd.
func (p *Process) tapInto(cmd bench.Command) {
	ctx, cancel := context.WithCancel(context.Background())
	t := &tap{p: p, stop: cancel, silent: make(chan error), done: make(chan struct{})}
	for use, w := range map[string]io.Writer{useStdout: cmd.Stdout, useStderr: cmd.Stderr} {
		if slices.Contains(p.room.uses, use) {
			t.rings = append(t.rings, newRing(p.client, p.room.path+"/"+use, t.writer(ctx, w)))
		}
	}
	p.tap = t
	go t.run(ctx)
}

// writer returns what gives data to w. When w fails the process is killed, and what it still says
// is dropped.
func (t *tap) writer(ctx context.Context, w io.Writer) func([]byte) {
	return func(data []byte) {
		if t.err != nil {
			return
		}
		if _, err := w.Write(data); err != nil {
			t.err = &bench.InfraError{Op: "take the output of " + t.p.name, Err: err}
			go func() { _, _ = t.p.Kill(ctx) }()
		}
	}
}

func (t *tap) run(ctx context.Context) {
	defer close(t.done)
	defer t.stop()
	err := t.pump(ctx)
	clean, cancel := t.p.client.cleanup(ctx)
	defer cancel()
	for _, r := range t.rings {
		r.close(clean)
	}
	if left := t.p.room.remove(ctx); err == nil {
		err = left
	}
	if err != nil && t.err == nil {
		t.err = fmt.Errorf("%s: its output: %w", t.p.name, err)
	}
}

// pump moves output until there is no more.
func (t *tap) pump(ctx context.Context) error {
	for active := time.Now(); ; {
		ended := t.p.ended() // so all output is in the files
		moved, err := t.step(ctx)
		if err == nil && !moved {
			if ended {
				return nil
			}
			err = t.p.ask(ctx)
		}
		switch {
		case isTimeout(err):
			t.tell(err)
		case err != nil:
			return t.because(ctx, err)
		case moved || t.p.ended():
			active = time.Now()
			continue
		}
		if err := pause(ctx, active, t.p.done); err != nil {
			return err
		}
	}
}

// step moves a chunk of each stream.
func (t *tap) step(ctx context.Context) (moved bool, err error) {
	for _, r := range t.rings {
		m, err := r.step(ctx)
		if err != nil {
			return moved, err
		}
		moved = moved || m
	}
	return moved, nil
}

// because prefers the process's own fate to what it did to its files.
func (t *tap) because(ctx context.Context, err error) error {
	if t.p.ask(ctx) == nil && t.p.ended() && t.p.err != nil {
		return t.p.err
	}
	return err
}

func (t *tap) tell(err error) {
	select {
	case t.silent <- fmt.Errorf("%s: %w", t.p.name, err):
	default:
	}
}

// wait waits for the end of all, or for the agent to be silent.
func (t *tap) wait(ctx context.Context) error {
	if t.over() {
		return t.err
	}
	select {
	case <-t.done:
		return t.err
	case err := <-t.silent:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", t.p.name, context.Cause(ctx))
	}
}

func (t *tap) over() bool { return isClosed(t.done) }

// giveUp ends the tap, and leaves it time to remove the room; a writer that does not return keeps
// it from that.
func (t *tap) giveUp(ctx context.Context) {
	t.stop()
	ctx, cancel := t.p.client.cleanup(ctx)
	defer cancel()
	select {
	case <-t.done:
	case <-ctx.Done():
	}
}
