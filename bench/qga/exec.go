package qga

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"vmtb/bench"
	"vmtb/bench/qmp"
)

// Exec runs a command to its end: [Client.Start], then [Process.Wait]. When the wait fails, because ctx ended above all,
// the process and all that it started get SIGTERM and after cmd.Grace SIGKILL; the Result beside the error is what
// became of it.
func (c *Client) Exec(ctx context.Context, cmd bench.Command) (bench.Result, error) {
	p, err := c.Start(ctx, cmd)
	if err != nil {
		return bench.Result{}, err
	}
	r, err := p.Wait(ctx)
	if err == nil || p.ended() || errors.Is(err, qmp.ErrClosed) {
		return r, err
	}
	r, left := p.kill(context.WithoutCancel(ctx), cmd.Grace)
	if left != nil {
		err = fmt.Errorf("%w; and it could not be killed: %w", err, left)
	}
	return r, err
}

// Start runs a command and does not wait for it. In its environment there is also VMTB_EXEC, with a value of its own.
func (c *Client) Start(ctx context.Context, cmd bench.Command) (*Process, error) {
	p, err := c.start(ctx, cmd)
	if err != nil && p != nil {
		p.abandon(ctx)
		p = nil
	}
	return p, err
}

// start returns, with an error, the process that may have been started nevertheless.
func (c *Client) start(ctx context.Context, cmd bench.Command) (*Process, error) {
	if err := checkCommand(cmd); err != nil {
		return nil, err
	}
	own, err := c.environ.get(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("%s: environment of the guest agent: %w", cmd, err)
	}
	token := rand.Text()
	argv := cmd.Argv
	if cmd.Dir != "" {
		argv = append([]string{"/bin/sh", "-c", inDir, "sh", token, cmd.Dir}, argv...)
	}
	args := execArgs(argv)
	args["env"] = mergeEnv(own, cmd.Env, []string{marker + "=" + token})
	if len(cmd.Stdin) > 0 {
		args["input-data"] = cmd.Stdin
	}
	return c.spawn(ctx, cmd.String(), token, args)
}

func execArgs(argv []string) map[string]any {
	return map[string]any{"path": argv[0], "arg": argv[1:], "capture-output": true}
}

func (c *Client) spawn(ctx context.Context, name, token string, args map[string]any) (*Process, error) {
	call, err := c.send(ctx, "guest-exec", args)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer call.Forget()
	p := &Process{client: c, name: name, token: token, done: make(chan struct{}), asking: make(chan struct{}, 1)}
	var started struct{ PID int }
	if err := c.await(ctx, call, "guest-exec", &started); err != nil {
		if call.Answered() || errors.Is(err, qmp.ErrClosed) {
			p = nil
		}
		return p, fmt.Errorf("%s: %w", name, err)
	}
	p.pid = started.PID
	return p, nil
}

// marker is a variable in the environment of every process, by which it and its descendants are found when they must
// end. guest-exec makes no process group, setsid is not in every guest, and a child may leave its group.
const marker = "VMTB_EXEC"

// inDir runs its arguments $3... in directory $2. What goes wrong here, and not in the command, is known by the token $1
// at the end of stderr.
const inDir = `
cd -- "$2" && case $3 in
	*/*) [ -x "$3" ] ;;
	*) command -v -- "$3" >/dev/null ;;
esac || { echo "$3: cannot be run in $2 $1" >&2; exit 127; }
shift 2
exec "$@"`

func checkCommand(cmd bench.Command) error {
	if len(cmd.Argv) == 0 || cmd.Argv[0] == "" {
		return errors.New("a command without a program")
	}
	for _, s := range append(append([]string{cmd.Dir}, cmd.Argv...), cmd.Env...) {
		if err := checkText(s); err != nil {
			return fmt.Errorf("%s: %w", cmd, err)
		}
	}
	for _, s := range cmd.Env {
		if !strings.Contains(s, "=") {
			return fmt.Errorf("%s: %q in its environment is not KEY=value", cmd, s)
		}
	}
	return nil
}

// checkText refuses what would not reach the agent unchanged: its protocol is JSON.
func checkText(s string) error {
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return fmt.Errorf("%q is not text that can be sent to the guest agent", s)
	}
	return nil
}

// An environ is the environment of the agent, asked for once.
type environ struct {
	asking chan struct{} // holds a token while somebody asks
	vars   []string
}

func (e *environ) get(ctx context.Context, c *Client) ([]string, error) {
	select {
	case e.asking <- struct{}{}:
		defer func() { <-e.asking }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if e.vars == nil {
		show := bench.Command{Argv: []string{"cat", "/proc/self/environ"}}
		p, err := c.spawn(ctx, show.String(), "", execArgs(show.Argv))
		if err != nil {
			return nil, err
		}
		r, err := p.Wait(ctx)
		if err == nil {
			err = r.Err(show)
		}
		if err != nil {
			return nil, err
		}
		e.vars = strings.Split(string(r.Stdout), "\x00")
	}
	return e.vars, nil
}

// mergeEnv joins environments; of a variable that is in several the last one counts.
func mergeEnv(envs ...[]string) []string {
	merged, at := []string{}, map[string]int{}
	for _, v := range slices.Concat(envs...) {
		key, _, ok := strings.Cut(v, "=")
		if i, seen := at[key]; seen {
			merged[i] = v
		} else if ok {
			at[key] = len(merged)
			merged = append(merged, v)
		}
	}
	return merged
}
