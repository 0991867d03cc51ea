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

// A Client asks the keeper of a machine.
type Client struct{ record Record }

// Open is a client for a machine that lives.
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

// gone is the error for a machine that does not live.
func (r Record) gone(s Store, life Life) error {
	if life == Died {
		err := fmt.Errorf("its keeper (pid %d) died, and QEMU with it", r.Keeper)
		if !r.Ended.IsZero() {
			err = errors.New("it has ended: " + r.End())
		}
		return &bench.InfraError{
			Op: "machine " + r.Name, Err: err,
			Advice: "vmtb recover puts the host back; the machine's logs are in " + r.Dir,
		}
	}
	return &bench.UsageError{
		Err:    fmt.Errorf("machine %s has ended (%s); its logs are in %s", r.Name, r.End(), r.Dir),
		Advice: s.others(),
	}
}

func (r Record) client() *Client { return &Client{r} }

// Name is the machine's.
func (c *Client) Name() string { return c.record.Name }

// do asks for an operation and waits for its result.
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

// lost is the error of a keeper that did not answer.
func (c *Client) lost(operation string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		err = errors.New("its keeper is gone")
	}
	return &bench.InfraError{
		Op: fmt.Sprintf("machine %s: %s", c.record.Name, operation), Err: err,
		Advice: "see " + LogFile + " in " + c.record.Dir,
	}
}

// An Info is what a keeper tells of its machine.
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
	VNC      string   `json:"vnc,omitempty"` // as a viewer on this host takes it
	Password string   `json:"vnc_password,omitempty"`
	SSHPort  int      `json:"ssh_port,omitempty"`
	Logs     string   `json:"logs"` // folder of the machine's logs; another one after a migration

	VNCListens string        `json:"vnc_listens,omitempty"` // address and port that the VNC server listens on
	Boot       time.Duration `json:"boot"`                  // how long a wait for the guest lasts at most
	Sockets    string        `json:"sockets"`               // private directory of QEMU's sockets
}

// Info asks what the machine is like.
func (c *Client) Info(ctx context.Context) (Info, error) {
	info := Info{Record: c.record}
	return info, c.do(ctx, "info", nil, nil, Output{}, &info)
}

// WaitReady waits until the guest can be used; see [vm.VM.WaitReady].
func (c *Client) WaitReady(ctx context.Context) error {
	return c.do(ctx, "ready", time.Duration(0), nil, Output{}, nil)
}

// An Order is a change of state without arguments.
type Order string

// The orders; see the methods of [vm.VM] of these names.
const (
	Pause   Order = "pause"
	Resume  Order = "resume"
	Suspend Order = "suspend"
	Wake    Order = "wake"
	Reboot  Order = "reboot"
	Reset   Order = "reset"
)

// Order does o, and returns when the machine has been seen to have done it.
func (c *Client) Order(ctx context.Context, o Order) error {
	return c.do(ctx, string(o), nil, nil, Output{}, nil)
}

// An Off is how a machine was shut down.
type Off struct {
	How     vm.Step  `json:"how"`                // what ended it
	LeftOut []string `json:"left_out,omitempty"` // steps before that could not work, and why
}

// PowerOff ends the machine as [vm.Power.Off] does, and the keeper. It returns when the host is
// as it was. The error matches [ErrNotRestored] if the machine has ended and the host is not as it
// was. progress is told what goes on.
func (c *Client) PowerOff(ctx context.Context, progress func(string)) (off Off, err error) {
	return off, c.do(ctx, "off", nil, nil, Output{Progress: progress}, &off)
}

// Kill ends the machine without asking the guest, and the keeper. It returns when the host is as it
// was. The error matches [ErrNotRestored] if the machine has ended and the host is not as it was.
// progress is told what goes on.
func (c *Client) Kill(ctx context.Context, progress func(string)) error {
	return c.do(ctx, "kill", nil, nil, Output{Progress: progress}, nil)
}

// Exec runs a command in the guest. Output goes to the command's writers, or into the result.
// A program that cannot be run is an error matching [bench.StartError].
func (c *Client) Exec(ctx context.Context, cmd bench.Command, in io.Reader) (r bench.Result, err error) {
	return c.ExecAs(ctx, "", cmd, in)
}

// ExecAs is Exec for a command that [Client.Signal] finds by id, which nobody else may use
// meanwhile.
func (c *Client) ExecAs(ctx context.Context, id string, cmd bench.Command, in io.Reader) (r bench.Result, err error) {
	o := Output{Stdout: cmd.Stdout, Stderr: cmd.Stderr}
	cmd.Stdout, cmd.Stderr = nil, nil
	return r, c.do(ctx, "exec", execArgs{id, cmd}, in, o, &r)
}

// Shell runs a shell in the guest that reads in, line by line, until that ends or the shell does;
// with a prompt if asked to.
func (c *Client) Shell(
	ctx context.Context, prompt bool, in io.Reader, out, errs io.Writer,
) (r bench.Result, err error) {
	return r, c.do(ctx, "shell", prompt, in, Output{Stdout: out, Stderr: errs}, &r)
}

// Console attaches to the serial console, and tells attached when that is done: what the guest
// writes goes to out, in goes to the guest, until either ends.
func (c *Client) Console(ctx context.Context, in io.Reader, out io.Writer, attached func()) error {
	return c.do(ctx, "console", nil, in, Output{Stdout: out, Progress: func(string) { attached() }}, nil)
}

// ReadFile reads a file of the guest.
func (c *Client) ReadFile(ctx context.Context, path string, to io.Writer) error {
	return c.do(ctx, "read", path, nil, Output{Stdout: to}, nil)
}

// WriteFile makes a file in the guest, or replaces its content.
func (c *Client) WriteFile(ctx context.Context, path string, from io.Reader) error {
	return c.do(ctx, "write", path, from, Output{}, nil)
}

// Screenshot writes a picture of the machine's screen, PNG, to w.
func (c *Client) Screenshot(ctx context.Context, w io.Writer) error {
	return c.do(ctx, "screenshot", nil, nil, Output{Stdout: w}, nil)
}

// QMP gives a command to QEMU's monitor and returns its reply.
func (c *Client) QMP(ctx context.Context, command string, args json.RawMessage) (reply json.RawMessage, err error) {
	return reply, c.do(ctx, "qmp", qmpArgs{command, args}, nil, Output{}, &reply)
}

// Agent gives a command to the guest's agent and returns its reply.
func (c *Client) Agent(ctx context.Context, command string, args json.RawMessage) (reply json.RawMessage, err error) {
	return reply, c.do(ctx, "qga", qmpArgs{command, args}, nil, Output{}, &reply)
}

// SaveSnapshot is that of [vm.VM].
func (c *Client) SaveSnapshot(ctx context.Context, tag string) error {
	return c.do(ctx, "save", tag, nil, Output{}, nil)
}

// LoadSnapshot is that of [vm.VM].
func (c *Client) LoadSnapshot(ctx context.Context, tag string) error {
	return c.do(ctx, "restore", tag, nil, Output{}, nil)
}

// DeleteSnapshot is that of [vm.VM].
func (c *Client) DeleteSnapshot(ctx context.Context, tag string) error {
	return c.do(ctx, "forget", tag, nil, Output{}, nil)
}

// Snapshots is that of [vm.VM].
func (c *Client) Snapshots(ctx context.Context) (list []vm.Snapshot, err error) {
	return list, c.do(ctx, "snapshots", nil, nil, Output{}, &list)
}

// Migrate moves the machine, while it runs, to a QEMU of its own with other VFs.
func (c *Client) Migrate(ctx context.Context, vfs []vm.VF, progress func(string)) (done vm.Migration, err error) {
	return done, c.do(ctx, "migrate", vfs, nil, Output{Progress: progress}, &done)
}
