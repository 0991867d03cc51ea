package qga

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"vmtb/bench"
	"vmtb/bench/qmp"
)

// Exec runs a command to its end: [Client.Start], then [bench.Finish].
func (c *Client) Exec(ctx context.Context, cmd bench.Command) (bench.Result, error) {
	p, err := c.Start(ctx, cmd)
	if err != nil {
		return bench.Result{}, err
	}
	return bench.Finish(ctx, p)
}

// Start runs a command and does not wait for it. It adds the variable VMTB_EXEC with a unique value
// to the command's environment.
func (c *Client) Start(ctx context.Context, cmd bench.Command) (*Process, error) {
	if err := checkCommand(cmd); err != nil {
		return nil, err
	}
	own, err := c.environ.get(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("%s: environment of the guest agent: %w", cmd, err)
	}
	p := c.newProcess(cmd)
	p.token = rand.Text()
	if len(roomUses(cmd)) > 0 {
		if p.room, err = c.newRoom(ctx, cmd); err != nil {
			return nil, fmt.Errorf("%s: %w", cmd, err)
		}
	}
	if err := p.start(ctx, p.args(cmd, own)); err != nil {
		p.abandon(ctx)
		return nil, err
	}
	if p.room != nil {
		p.tapInto(cmd)
	}
	return p, nil
}

func (c *Client) newProcess(cmd bench.Command) *Process {
	return &Process{
		client: c, name: cmd.String(), program: cmd.Argv[0], grace: cmp.Or(cmd.Grace, bench.DefaultGrace),
		done: make(chan struct{}), asking: make(chan struct{}, 1),
	}
}

// args returns the arguments of guest-exec. A command that needs features that guest-exec lacks is
// started by a shell.
func (p *Process) args(cmd bench.Command, own []string) map[string]any {
	argv := cmd.Argv
	if cmd.Dir != "" || p.room != nil {
		way := cmp.Or(p.room, &room{})
		argv = append([]string{
			"/bin/sh", "-c", launchScript, "sh", p.token, cmd.Dir, way.path,
			strings.Join(way.uses, " "), copyScript(own),
		}, argv...)
	}
	args := execArgs(argv)
	args["env"] = mergeEnv(own, cmd.Env, []string{p.mark()})
	if len(cmd.Stdin) > 0 && len(cmd.Stdin) <= stdinInline {
		args["input-data"] = cmd.Stdin
	}
	return args
}

func execArgs(argv []string) map[string]any {
	return map[string]any{"path": argv[0], "arg": argv[1:], "capture-output": true}
}

// start sends the command. It sets p.unsure if the agent may have started the command without an
// answer.
func (p *Process) start(ctx context.Context, args map[string]any) error {
	call, err := p.client.send(ctx, "guest-exec", args)
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	defer call.Forget()
	var started struct{ PID int }
	if err := p.client.await(ctx, call, "guest-exec", &started); err != nil {
		p.unsure = !call.Answered() && !errors.Is(err, qmp.ErrClosed)
		return p.refused(err)
	}
	p.pid = started.PID
	return nil
}

// refused returns a [bench.StartError] if err says that the program cannot be run. The agent's
// message then ends with the text of strerror in parentheses: "Failed to execute child process
// ?nosuch? (No such file or directory)" (GLib's g_spawn).
func (p *Process) refused(err error) error {
	if reply, ok := errors.AsType[*qmp.Error](err); ok {
		switch words := strings.ToLower(reply.Desc); {
		case strings.Contains(words, strings.ToLower(syscall.ENOENT.Error())):
			return &bench.StartError{Program: p.program, Code: bench.CodeNotFound, Reason: "not found"}
		case strings.Contains(words, strings.ToLower(syscall.EACCES.Error())):
			return &bench.StartError{Program: p.program, Code: bench.CodeNotExecutable, Reason: "not executable"}
		}
	}
	return fmt.Errorf("%s: %w", p.name, err)
}

// marker is a variable in the environment of every process. With it Kill finds the process and its
// descendants. guest-exec makes no process group, setsid is not in every guest, and a child may
// leave its group.
const marker = "VMTB_EXEC"

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

// checkText returns an error for text that would not reach the agent unchanged, because its
// protocol is JSON.
func checkText(s string) error {
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return fmt.Errorf("%q is not text that can be sent to the guest agent", s)
	}
	return nil
}

// An environ is the agent's environment, read once.
type environ struct {
	asking chan struct{} // holds a token while a goroutine reads it
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
		p := c.newProcess(show) // without a mark, which needs the environment
		if err := p.start(ctx, execArgs(show.Argv)); err != nil {
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

// mergeEnv joins environments. If a variable is in several of them, the last one counts.
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
