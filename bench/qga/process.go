package qga

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"vmtb/bench"
	"vmtb/bench/qmp"
)

// ErrLost is the error for a process that the agent no longer knows, because the agent or the
// machine was restarted.
var ErrLost = errors.New("the guest agent no longer has the process")

const (
	pollFirst = 250 * time.Microsecond
	pollLast  = 250 * time.Millisecond
)

// A Process is a process that was started in the guest. It runs until it ends or gets a signal,
// whether the caller waits for it or not.
type Process struct {
	client  *Client
	name    string
	program string
	token   string
	grace   time.Duration
	room    *room // nil if it needs none
	tap     *tap  // empties the room
	pid     int
	unsure  bool // the agent may or may not have started it

	asking chan struct{} // holds a token while a goroutine asks the agent
	call   *call         // an abandoned question whose answer may have come; guarded by asking

	done   chan struct{} // closed after the two below are set
	result bench.Result
	err    error
}

// PID returns the process's number in the guest.
func (p *Process) PID() int { return p.pid }

// Status asks whether the process and its output have ended, and how. Once done is true it stays
// true, and the agent is not asked again. The agent reports the end only after all holders of the
// output have closed it.
func (p *Process) Status(ctx context.Context) (done bool, r bench.Result, err error) {
	if p.tap == nil && !p.ended() {
		if err := p.poll(ctx); err != nil {
			return false, bench.Result{}, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if !p.over() {
		return false, bench.Result{}, nil
	}
	r, err = p.outcome()
	return true, r, err
}

// ended reports whether the agent has reported the end of the process.
func (p *Process) ended() bool { return isClosed(p.done) }

// over reports whether the process has ended and its output has arrived.
func (p *Process) over() bool {
	if p.tap != nil {
		return p.tap.over()
	}
	return p.ended()
}

// outcome returns the result of a process that is over.
func (p *Process) outcome() (r bench.Result, err error) {
	if p.ended() {
		r, err = p.result, p.err
	}
	if p.tap != nil && p.tap.err != nil {
		err = p.tap.err
	}
	return r, err
}

// Wait implements [bench.Process]. It fails with a [*qmp.TimeoutError] if the agent is silent for
// long (a paused machine, a hung guest).
func (p *Process) Wait(ctx context.Context) (bench.Result, error) {
	if p.tap == nil {
		return p.wait(ctx)
	}
	if err := p.tap.wait(ctx); !p.over() {
		return bench.Result{}, err
	}
	return p.outcome()
}

// wait asks the agent until the process has ended.
func (p *Process) wait(ctx context.Context) (bench.Result, error) {
	for start := time.Now(); !p.ended(); {
		err := p.poll(ctx)
		if err == nil {
			err = pause(ctx, start, p.done)
		}
		if err != nil {
			return bench.Result{}, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return p.result, p.err
}

// pause waits before the agent is asked again. The wait grows with the time since the last change.
func pause(ctx context.Context, since time.Time, done <-chan struct{}) error {
	if isClosed(done) {
		return nil
	}
	again := time.NewTimer(min(max(time.Since(since)/8, pollFirst), pollLast))
	defer again.Stop()
	select {
	case <-again.C:
	case <-done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

type execStatus struct {
	Exited   bool
	ExitCode int
	Signal   int
	Stdout   []byte `json:"out-data"`
	Stderr   []byte `json:"err-data"`
	// See truncated.
	OutTruncated *bool `json:"out-truncated"`
	ErrTruncated *bool `json:"err-truncated"`
}

// outputLimit is how many bytes of each stream the agent keeps (GUEST_EXEC_MAX_OUTPUT in QEMU's
// qga/commands.c).
const outputLimit = 16 << 20

// truncated reports whether the agent has lost output. Agent 10.0.2 includes the flag only when
// output was lost, and then sets it to false. Other versions always include it, with the right
// value. So if the output fills the limit exactly, a false flag means nothing.
func truncated(output []byte, flag *bool) bool {
	return flag != nil && (*flag || len(output) >= outputLimit)
}

// poll asks the agent, one caller at a time. The agent reports the end only once, so an abandoned
// question stays in p.call for the next caller.
func (p *Process) poll(ctx context.Context) error {
	select {
	case p.asking <- struct{}{}:
		defer func() { <-p.asking }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if p.ended() {
		return nil
	}
	if err := p.open(ctx); err != nil {
		return err
	}
	var s execStatus
	err := p.client.await(ctx, p.call, "guest-exec-status", &s)
	if !p.call.Answered() {
		return err
	}
	p.call = nil
	// The only reason: "Invalid parameter 'pid'".
	if refusal := new(*qmp.Error); errors.As(err, refusal) {
		p.end(bench.Result{}, fmt.Errorf("%s: %w: %w", p.name, ErrLost, err))
		return nil
	}
	if err == nil && s.Exited {
		p.end(p.judge(s))
	}
	return err
}

// open makes p.call a question whose answer has come or will come.
func (p *Process) open(ctx context.Context) (err error) {
	if p.call != nil {
		// The agent answers in order. After this sync it will not answer older questions.
		p.client.synced.Store(false)
		if err := p.client.ensureSynced(ctx); err != nil {
			return err
		}
		if p.call.Answered() {
			return nil
		}
		p.call.Forget()
	}
	p.call, err = p.client.send(ctx, "guest-exec-status", map[string]any{"pid": p.pid})
	return err
}

func (p *Process) end(r bench.Result, err error) {
	p.result, p.err = r, err
	close(p.done)
}

// judge returns the result of the command. It returns an error if launchScript failed or output was
// lost.
func (p *Process) judge(s execStatus) (bench.Result, error) {
	if text, ok := bytes.CutSuffix(s.Stderr, []byte(" "+p.token+"\n")); ok && p.token != "" {
		if s.ExitCode == bench.CodeNotFound || s.ExitCode == bench.CodeNotExecutable {
			return bench.Result{}, &bench.StartError{Program: p.program, Code: s.ExitCode, Reason: string(text)}
		}
		return bench.Result{}, fmt.Errorf("%s: %s", p.name, text)
	}
	r := bench.Result{
		ExitCode: s.ExitCode, Signal: s.Signal, Stdout: s.Stdout, Stderr: s.Stderr,
		StdoutTruncated: truncated(s.Stdout, s.OutTruncated), StderrTruncated: truncated(s.Stderr, s.ErrTruncated),
	}
	if p.room == nil {
		return r, nil
	}
	var lost []byte
	if slices.Contains(p.room.uses, useStdout) {
		lost, r.Stdout = append(lost, r.Stdout...), nil
	}
	if slices.Contains(p.room.uses, useStderr) {
		lost, r.Stderr = append(lost, r.Stderr...), nil
	}
	if len(lost) > 0 {
		return r, fmt.Errorf("%s: its output was lost on the way: %s", p.name, bench.Tail(lost, 3))
	}
	return r, nil
}

// Signal sends a signal to this process only. If it has ended, the error is [os.ErrProcessDone].
func (p *Process) Signal(ctx context.Context, sig int) error { return p.signal(ctx, sig, "") }

// signalScript sends signal $1 to process $2 if that is still a child of the agent, like this
// shell. If $3 is not empty, it also sends the signal to all other processes with $3 in their
// environment. No process gets it twice: a second SIGTERM can have another effect than the first.
const signalScript = `
while read -r key value; do
	[ "$key $value" = "PPid: $PPID" ] && kill -"$1" "$2" && sent=1
done </proc/"$2"/status
if [ -n "$3" ]; then
	for f in $(grep -lszxF -- "$3" /proc/[0-9]*/environ); do
		f=${f%/environ} f=${f#/proc/}
		[ "$f" = "$2" ] || kill -"$1" "$f" && sent=1
	done
fi
[ -n "$sent" ]`

func (p *Process) signal(ctx context.Context, sig int, mark string) error {
	if mark == "" && p.ended() {
		return os.ErrProcessDone
	}
	killer, err := p.client.Start(ctx, bench.Command{
		Argv: []string{"/bin/sh", "-c", signalScript, "sh", strconv.Itoa(sig), strconv.Itoa(p.pid), mark},
	})
	if err != nil {
		return err
	}
	r, err := killer.Wait(ctx)
	if err == nil && !r.OK() {
		err = os.ErrProcessDone
	}
	return err
}

// abandon cleans up after a start that failed. Its own errors are dropped, because the caller has
// one already.
func (p *Process) abandon(ctx context.Context) {
	if p.unsure { // the agent did not answer
		clean, cancel := p.client.cleanup(ctx)
		defer cancel()
		_ = p.signal(clean, int(syscall.SIGKILL), p.mark())
	}
	if p.room != nil {
		_ = p.room.remove(ctx)
	}
}

// mark returns the variable in the environment of the process and its descendants.
func (p *Process) mark() string { return marker + "=" + p.token }

// Kill implements [bench.Process]. It finds the descendants by a variable in their environment.
func (p *Process) Kill(ctx context.Context) (bench.Result, error) {
	if !p.over() && p.client.Err() == nil { // if the connection has ended, so has the machine
		if err := p.kill(ctx); err != nil {
			if p.tap != nil {
				p.tap.giveUp(ctx)
			}
			return bench.Result{}, err
		}
	}
	r, _ := p.outcome()
	return r, nil
}

func (p *Process) kill(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.grace+p.client.scaled(3*cleanTime))
	defer cancel()
	if err := p.signal(ctx, int(syscall.SIGTERM), p.mark()); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	polite, cancel := context.WithTimeout(ctx, p.grace)
	defer cancel()
	_ = p.outlast(polite) // if this fails, SIGKILL follows
	if err := p.signal(ctx, int(syscall.SIGKILL), p.mark()); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return p.outlast(ctx)
}

// outlast waits until a killed process has ended, for any reason.
func (p *Process) outlast(ctx context.Context) error {
	if p.tap != nil {
		if err := p.tap.wait(ctx); !p.over() {
			return err
		}
	}
	_, err := p.wait(ctx) // if a tap failed, the process may still run
	if p.ended() {
		return nil
	}
	return err
}
