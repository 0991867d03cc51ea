package keep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"time"

	"vmtb/bench"
	"vmtb/bench/vm"
)

// A Client sends requests to the keeper of a machine.
type Client struct{ record Record }

// Open returns a client for a living machine.
func (s Store) Open(name string) (*Client, error) {
	r, err := s.Get(name)
	if err != nil {
		return nil, err
	}
	if life := r.Life(); life != Living {
		return nil, r.gone(s, life)
	}
	return r.client(), nil
}

// gone returns the error for a machine that is not alive.
func (r Record) gone(s Store, life Life) error {
	if life == Died {
		err := fmt.Errorf("its keeper (pid %d) died, and QEMU with it", r.Keeper)
		if !r.Ended.IsZero() {
			err = errors.New("it has ended: " + r.End())
		}
		return &bench.InfraError{
			Op: "machine " + r.Name, Err: err,
			Advice: "vmtb recover restores the host; the machine's logs are in " + r.Dir,
		}
	}
	return &bench.UsageError{
		Err:    fmt.Errorf("machine %s has ended (%s); its logs are in %s", r.Name, r.End(), r.Dir),
		Advice: s.others(),
	}
}

func (r Record) client() *Client { return &Client{r} }

// Name returns the machine's name.
func (c *Client) Name() string { return c.record.Name }

// do requests an operation and waits for its result.
func (c *Client) do(ctx context.Context, operation string, args any, in io.Reader, o Output, result any) error {
	raw, err := json.Marshal(args)
	if err != nil {
		return err
	}
	conn, err := dial(ctx, c.record.Dir)
	if err == nil {
		err = converse(ctx, conn, request{operation, raw}, in, o, result)
	}
	if err == nil || errors.As(err, new(*Error)) || errors.As(err, new(*inputError)) {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return c.lost(operation, err)
}

// lost returns the error for a keeper that did not answer.
func (c *Client) lost(operation string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		err = errors.New("its keeper has ended")
	}
	return &bench.InfraError{
		Op: fmt.Sprintf("machine %s: %s", c.record.Name, operation), Err: err,
		Advice: "see " + LogFile + " in " + c.record.Dir,
	}
}

// An Info is a keeper's description of its machine.
type Info struct {
	Record
	State State `json:"state"`
}

// State is the part of an [Info] that changes.
type State struct {
	State    vm.State `json:"state"`
	Agent    bool     `json:"agent"` // the guest's agent has its port open
	Accel    string   `json:"accel"`
	QEMU     int      `json:"qemu"`          // pid
	VNC      string   `json:"vnc,omitempty"` // address for a viewer on this host
	Password string   `json:"vnc_password,omitempty"`
	SSHPort  int      `json:"ssh_port,omitempty"`
	Logs     string   `json:"logs"` // folder of the machine's logs; changes with a migration

	// Address and port that the VNC server listens on.
	VNCListens string        `json:"vnc_listens,omitempty"`
	Boot       time.Duration `json:"boot"`    // limit of a wait for the guest
	Sockets    string        `json:"sockets"` // private directory of QEMU's sockets
}

// Info requests the machine's description.
func (c *Client) Info(ctx context.Context) (Info, error) {
	info := Info{Record: c.record}
	return info, c.do(ctx, "info", nil, nil, Output{}, &info)
}

// WaitReady waits until the guest can be used: see [vm.VM.WaitReady].
func (c *Client) WaitReady(ctx context.Context) error {
	return c.do(ctx, "ready", time.Duration(0), nil, Output{}, nil)
}

// An Order is a change of state without arguments.
type Order string

// These are the orders. Each does the same as the method of [vm.VM] of that name.
const (
	Pause   Order = "pause"
	Resume  Order = "resume"
	Suspend Order = "suspend"
	Wake    Order = "wake"
	Reboot  Order = "reboot"
	Reset   Order = "reset"
)

// Order carries out o, and returns when the machine's new state was seen.
func (c *Client) Order(ctx context.Context, o Order) error {
	return c.do(ctx, string(o), nil, nil, Output{}, nil)
}

// An Off says how a machine was shut down.
type Off struct {
	How     vm.Step  `json:"how"`                // the step that ended it
	LeftOut []string `json:"left_out,omitempty"` // earlier steps that could not work, with reasons
}

// PowerOff ends the machine as [vm.Power.Off] does, and then its keeper. It returns after the host
// is restored. If the machine has ended but the host could not be restored, the error matches
// [ErrNotRestored]. progress is called with a text for each step.
func (c *Client) PowerOff(ctx context.Context, progress func(string)) (off Off, err error) {
	return off, c.do(ctx, "off", nil, nil, Output{Progress: progress}, &off)
}

// Kill ends the machine without asking the guest, and then its keeper. It returns after the host is
// restored. If the machine has ended but the host could not be restored, the error matches
// [ErrNotRestored]. progress is called with a text for each step.
func (c *Client) Kill(ctx context.Context, progress func(string)) error {
	return c.do(ctx, "kill", nil, nil, Output{Progress: progress}, nil)
}

// Exec runs a command in the guest. Output goes to the command's writers, or into the result. If
// the program cannot be run, the error matches [bench.StartError].
func (c *Client) Exec(ctx context.Context, cmd bench.Command, in io.Reader) (r bench.Result, err error) {
	return c.ExecAs(ctx, "", cmd, in)
}

// ExecAs is Exec for a command that [Client.Signal] can find by id. No other running command may
// have the same id.
func (c *Client) ExecAs(ctx context.Context, id string, cmd bench.Command, in io.Reader) (r bench.Result, err error) {
	o := Output{Stdout: cmd.Stdout, Stderr: cmd.Stderr}
	cmd.Stdout, cmd.Stderr = nil, nil
	return r, c.do(ctx, "exec", execArgs{id, cmd}, in, o, &r)
}

// Shell runs a shell in the guest. The shell reads in line by line, until in or the shell ends. It
// prints prompts if prompt is true.
func (c *Client) Shell(
	ctx context.Context, prompt bool, in io.Reader, out, errs io.Writer,
) (r bench.Result, err error) {
	return r, c.do(ctx, "shell", prompt, in, Output{Stdout: out, Stderr: errs}, &r)
}

// Console attaches to the serial console, and then calls attached. The guest's output is written to
// out and in is sent to the guest, until the console or in ends.
func (c *Client) Console(ctx context.Context, in io.Reader, out io.Writer, attached func()) error {
	return c.do(ctx, "console", nil, in, Output{Stdout: out, Progress: func(string) { attached() }}, nil)
}

// ReadFile reads a file of the guest.
func (c *Client) ReadFile(ctx context.Context, path string, to io.Writer) error {
	return c.do(ctx, "read", path, nil, Output{Stdout: to}, nil)
}

// WriteFile creates a file in the guest, or replaces its content.
func (c *Client) WriteFile(ctx context.Context, path string, from io.Reader) error {
	return c.do(ctx, "write", path, from, Output{}, nil)
}

// Screenshot writes a PNG picture of the machine's screen to w.
func (c *Client) Screenshot(ctx context.Context, w io.Writer) error {
	return c.do(ctx, "screenshot", nil, nil, Output{Stdout: w}, nil)
}

// QMP sends a command to QEMU's monitor and returns its reply.
func (c *Client) QMP(ctx context.Context, command string, args json.RawMessage) (reply json.RawMessage, err error) {
	return reply, c.do(ctx, "qmp", qmpArgs{command, args}, nil, Output{}, &reply)
}

// Agent sends a command to the guest's agent and returns its reply.
func (c *Client) Agent(ctx context.Context, command string, args json.RawMessage) (reply json.RawMessage, err error) {
	return reply, c.do(ctx, "qga", qmpArgs{command, args}, nil, Output{}, &reply)
}

// SaveSnapshot saves a snapshot, as [vm.VM] does.
func (c *Client) SaveSnapshot(ctx context.Context, tag string) error {
	return c.do(ctx, "save", tag, nil, Output{}, nil)
}

// LoadSnapshot loads a snapshot, as [vm.VM] does.
func (c *Client) LoadSnapshot(ctx context.Context, tag string) error {
	return c.do(ctx, "restore", tag, nil, Output{}, nil)
}

// DeleteSnapshot deletes a snapshot, as [vm.VM] does.
func (c *Client) DeleteSnapshot(ctx context.Context, tag string) error {
	return c.do(ctx, "forget", tag, nil, Output{}, nil)
}

// Snapshots lists the snapshots, as [vm.VM] does.
func (c *Client) Snapshots(ctx context.Context) (list []vm.Snapshot, err error) {
	return list, c.do(ctx, "snapshots", nil, nil, Output{}, &list)
}

// Migrate moves the running machine to a new QEMU with other VFs.
func (c *Client) Migrate(ctx context.Context, vfs []vm.VF, progress func(string)) (done vm.Migration, err error) {
	return done, c.do(ctx, "migrate", vfs, nil, Output{Progress: progress}, &done)
}
