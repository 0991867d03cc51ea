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

// ErrLost is matched by the error for a process that the agent no longer knows: the agent or the
// machine was restarted.
var ErrLost = errors.New("the guest agent does not know the process any more")

const (
	pollFirst = 250 * time.Microsecond
	pollLast  = 250 * time.Millisecond
)

// A Process was started in the guest. It goes on until it ends or is signalled; nobody needs to
// wait for it.
type Process struct {
	client  *Client
	name    string
	program string
	token   string
	grace   time.Duration
	room    *room // nil if it needs none
	tap     *tap  // empties the room
	pid     int
	unsure  bool // whether it was started

	asking chan struct{} // holds a token while somebody asks the agent
	call   *call         // a question that was given up on, and whose answer may have come; guarded by asking

	done   chan struct{} // closed with the two below
	result bench.Result
	err    error
}

// PID is the process's number in the guest.
func (p *Process) PID() int { return p.pid }

// Status asks whether the process has ended, with all its output, and how. Once done is true it
// stays so, and the agent is not asked again. For the agent a process has not ended while another
// one holds its output open.
func (p *Process) Status(ctx context.Context) (done bool, r bench.Result, err error) {
	if p.tap == nil && !p.ended() {
		if err := p.ask(ctx); err != nil {
			return false, bench.Result{}, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if !p.over() {
		return false, bench.Result{}, nil
	}
	r, err = p.outcome()
	return true, r, err
}

// ended reports whether the agent has said that the process has ended.
func (p *Process) ended() bool { return isClosed(p.done) }

// over reports whether its output has arrived, too.
func (p *Process) over() bool {
	if p.tap != nil {
		return p.tap.over()
	}
	return p.ended()
}

// outcome is what became of a process that is over.
func (p *Process) outcome() (r bench.Result, err error) {
	if p.ended() {
		r, err = p.result, p.err
	}
	if p.tap != nil && p.tap.err != nil {
		err = p.tap.err
	}
	return r, err
}

// Wait implements [bench.Process]. It gives up with a [*qmp.TimeoutError] when the agent is silent
// for long (a paused machine, a hung guest).
func (p *Process) Wait(ctx context.Context) (bench.Result, error) {
	if p.tap == nil {
		return p.wait(ctx)
	}
	if err := p.tap.wait(ctx); !p.over() {
		return bench.Result{}, err
	}
	return p.outcome()
}

// wait asks until the process has ended.
func (p *Process) wait(ctx context.Context) (bench.Result, error) {
	for start := time.Now(); !p.ended(); {
		err := p.ask(ctx)
		if err == nil {
			err = pause(ctx, start, p.done)
		}
		if err != nil {
			return bench.Result{}, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return p.result, p.err
}

// pause waits before the agent is asked again: the longer, the longer nothing has happened.
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

// outputLimit is what the agent keeps of each stream (GUEST_EXEC_MAX_OUTPUT in QEMU's
// qga/commands.c).
const outputLimit = 16 << 20

// truncated reports whether the agent has lost output. Agent 10.0.2 has the flag in its reply just
// if it has, and forgets to make it true; others always have it, and right. So of output that fills
// the limit exactly, one that is there and false says nothing.
func truncated(output []byte, flag *bool) bool {
	return flag != nil && (*flag || len(output) >= outputLimit)
}

// ask puts the question to the agent, one caller at a time. The agent says "exited" only once, so a
// question that its caller gave up on stays in p.call for the next one.
func (p *Process) ask(ctx context.Context) error {
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
	if refusal := new(*qmp.Error); errors.As(err, refusal) { // there is one reason: "Invalid parameter 'pid'"
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
		// The agent answers in order: what it has not answered before this sync, it never will.
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

// judge tells a command that failed from one that launchScript could not run, and from one whose
// output was lost.
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
	var said []byte
	if slices.Contains(p.room.uses, useStdout) {
		said, r.Stdout = append(said, r.Stdout...), nil
	}
	if slices.Contains(p.room.uses, useStderr) {
		said, r.Stderr = append(said, r.Stderr...), nil
	}
	if len(said) > 0 {
		return r, fmt.Errorf("%s: its output was lost on the way: %s", p.name, bench.Tail(said, 3))
	}
	return r, nil
}

// Signal sends a signal to the process alone. One that has ended is [os.ErrProcessDone].
func (p *Process) Signal(ctx context.Context, sig int) error { return p.signal(ctx, sig, "") }

// signalScript sends signal $1 to process $2, if that is still a child of the agent as this shell
// is, and to all other processes that have $3 in their environment, if it is not empty. Nobody gets
// it twice: a second SIGTERM means more than the first.
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

// abandon puts back what a start that failed may have left. The caller has an error already.
func (p *Process) abandon(ctx context.Context) {
	if p.unsure { // the agent's word did not come
		clean, cancel := p.client.cleanup(ctx)
		defer cancel()
		_ = p.signal(clean, int(syscall.SIGKILL), p.mark())
	}
	if p.room != nil {
		_ = p.room.remove(ctx)
	}
}

// mark is what the environment of the process and of its descendants holds.
func (p *Process) mark() string { return marker + "=" + p.token }

// Kill implements [bench.Process]. It finds what the process started by a variable in its
// environment.
func (p *Process) Kill(ctx context.Context) (bench.Result, error) {
	if !p.over() && p.client.Err() == nil { // with the connection the machine has ended, and all that was in it
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
	_ = p.outlast(polite) // whatever comes of it, force is next
	if err := p.signal(ctx, int(syscall.SIGKILL), p.mark()); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return p.outlast(ctx)
}

// outlast waits until a process that is killed has ended, however.
func (p *Process) outlast(ctx context.Context) error {
	if p.tap != nil {
		if err := p.tap.wait(ctx); !p.over() {
			return err
		}
	}
	_, err := p.wait(ctx) // a tap that failed leaves the process behind
	if p.ended() {
		return nil
	}
	return err
}
