package keep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"vmtb/bench"
	"vmtb/bench/qmp"
	"vmtb/bench/vm"
)

// operations returns the operations that a keeper carries out for clients. Client has a method for
// each.
func (k *keeper) operations() map[string]operation {
	return map[string]operation{
		"info":        k.info,
		"ready":       with(k.ready),
		"end":         k.untilEnd,
		"signal":      with(k.signal),
		string(Pause): k.press((*vm.Power).Pause), string(Resume): k.press((*vm.Power).Resume),
		string(Suspend): k.press((*vm.Power).Suspend), string(Wake): k.press((*vm.Power).Wake),
		string(Reboot): k.press((*vm.Power).Reboot), string(Reset): k.press((*vm.Power).Reset),
		"off":        k.powerOff,
		"kill":       k.kill,
		"exec":       with(k.exec),
		"shell":      with(k.shell),
		"console":    k.console,
		"read":       with(k.readFile),
		"write":      with(k.writeFile),
		"screenshot": k.screenshot,
		"save":       k.snapshot((*vm.Snapshots).Save), "restore": k.snapshot((*vm.Snapshots).Load),
		"forget":    k.snapshot((*vm.Snapshots).Delete),
		"snapshots": func(ctx context.Context, _ *call) (any, error) { return k.get().Snapshots().List(ctx) },
		"qmp":       with(k.qmp),
		"qga":       with(k.qga),
		"migrate":   with(k.migrate),
	}
}

// press returns the operation that presses a button of the machine.
func (k *keeper) press(do func(*vm.Power, context.Context) error) operation {
	return func(ctx context.Context, _ *call) (any, error) { return nil, do(k.get().Power(), ctx) }
}

// snapshot returns the operation that calls a method of the machine's snapshots with a tag.
func (k *keeper) snapshot(do func(*vm.Snapshots, context.Context, string) error) operation {
	return with(func(ctx context.Context, _ *call, tag string) (any, error) {
		return nil, do(k.get().Snapshots(), ctx, tag)
	})
}

func (k *keeper) info(ctx context.Context, _ *call) (any, error) {
	m, info := k.now()
	state, err := m.State(ctx)
	for err != nil && k.get() != m { // the machine migrated, and its old QEMU has ended
		m, info = k.now()
		state, err = m.State(ctx)
	}
	info.State = State{
		State: state, Agent: m.AgentOpen(), Accel: m.Accel().Name, QEMU: m.PID(),
		SSHPort: m.UserAccess().SSHPort(), Logs: m.Dir(), Boot: m.BootLimit(),
		Sockets: filepath.Dir(m.Socket(vm.ConsoleSocket)),
	}
	if s, on := m.UserAccess().VNC(); on {
		info.State.VNC, info.State.Password, info.State.VNCListens = s.Address(), s.Password, s.Listens()
	}
	return info, err
}

// now returns the machine and its record.
func (k *keeper) now() (*vm.VM, Info) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.machine, Info{Record: k.record}
}

func (k *keeper) powerOff(ctx context.Context, c *call) (any, error) {
	ctx, cancel := k.bind(ctx) // "vm kill" ends the polite steps early
	defer cancel()
	release, err := k.move(ctx) // wait for a migration to end
	if err != nil {
		return nil, err
	}
	k.endRequested.Store(true)
	var off Off
	off.How, err = k.get().Power().OffAndTell(ctx, func(what string, refusal error) {
		if refusal == nil {
			c.progress("%s", what)
			return
		}
		off.LeftOut = append(off.LeftOut, fmt.Sprintf("%s: %v", what, refusal))
	})
	if err != nil {
		k.endRequested.Store(false) // if the machine ends later, this request is not the reason
	}
	release()
	if err != nil {
		return nil, err
	}
	return off, k.ended(c)
}

func (k *keeper) kill(_ context.Context, c *call) (any, error) {
	k.endRequested.Store(true)
	return nil, k.ended(c)
}

// ended ends the keeper. It returns after the host is restored; the error says why it could not be.
func (k *keeper) ended(c *call) error {
	c.progress("restoring the host")
	k.leave(errEndRequested)
	<-k.over
	return k.result
}

// maxInput limits a command's input in bytes: the input goes to the agent in one piece.
const maxInput = 32 << 20

func (k *keeper) exec(ctx context.Context, c *call, args execArgs) (any, error) {
	cmd := args.Command
	in, err := io.ReadAll(io.LimitReader(c.in, maxInput+1))
	if err != nil {
		return nil, err
	}
	if len(in) > maxInput {
		return nil, &bench.UsageError{
			Err:    fmt.Errorf("the command's input is longer than %d MiB", maxInput>>20),
			Advice: "vmtb vm cp brings it as a file",
		}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, c.stdout(), c.stderr()
	p, err := k.get().Start(ctx, cmd)
	if err != nil {
		return nil, err
	}
	defer k.note(args.ID, p)()
	return bench.Finish(ctx, p)
}

func (k *keeper) console(ctx context.Context, c *call) (any, error) {
	conn, err := k.get().UserAccess().Console(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c.progress("attached")
	go func() {
		_, _ = io.Copy(conn, c.in) // the client has detached, or the machine has ended
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			// QEMU closes the connection after it has sent the rest of the guest's output.
			_ = half.CloseWrite()
		}
	}()
	_, _ = io.Copy(c.stdout(), conn)
	return nil, ctx.Err()
}

func (k *keeper) readFile(ctx context.Context, c *call, file string) (any, error) {
	return nil, k.get().Guest().ReadFileTo(ctx, file, c.stdout())
}

// screenshot has QEMU write the picture into the machine's folder, and sends it. The client opens
// the target file itself, with its own rights and working directory.
func (k *keeper) screenshot(ctx context.Context, c *call) (any, error) {
	f, err := os.CreateTemp(k.record.Dir, "screenshot-*.png")
	if err != nil {
		return nil, &bench.InfraError{Op: "take a screenshot", Err: err}
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := k.get().Evidence().Screenshot(ctx, f.Name()); err != nil {
		return nil, err
	}
	if _, err := io.Copy(c.stdout(), f); err != nil {
		return nil, &bench.InfraError{Op: "take a screenshot", Err: err}
	}
	return nil, nil //nolint:nilnil // the picture has been sent
}

func (k *keeper) writeFile(ctx context.Context, c *call, file string) (any, error) {
	return nil, k.get().Guest().WriteFileFrom(ctx, file, c.in)
}

// qmpArgs is a command for QEMU's monitor or the guest's agent.
type qmpArgs struct {
	Command string
	Args    json.RawMessage `json:",omitempty"` // an object
}

func (k *keeper) qmp(ctx context.Context, _ *call, a qmpArgs) (any, error) {
	return a.execute(ctx, k.get().QMP().Execute)
}

func (k *keeper) qga(ctx context.Context, _ *call, a qmpArgs) (any, error) {
	return a.execute(ctx, k.get().Agent().Execute)
}

func (a qmpArgs) execute(
	ctx context.Context, do func(ctx context.Context, cmd string, args, ret any) error,
) (any, error) {
	var args any // nil, not a nil slice, which would be sent as null
	if len(a.Args) > 0 {
		args = a.Args
	}
	var reply json.RawMessage
	err := do(ctx, a.Command, args, &reply)
	if refusal, ok := errors.AsType[*qmp.Error](err); ok {
		return nil, &bench.UsageError{Err: refusal}
	}
	return reply, err
}

// migrate moves the machine to a new QEMU with other VFs. k then uses the new machine. A migration
// ends with the keeper.
func (k *keeper) migrate(ctx context.Context, c *call, vfs []vm.VF) (any, error) {
	ctx, cancel := k.bind(ctx)
	defer cancel()
	release, err := k.move(ctx) // a second migration waits, or it would move the old machine
	if err != nil {
		return nil, err
	}
	defer release()
	from := k.get()
	k.moves++
	c.progress("starting a second QEMU")
	to, err := vm.Start(ctx, from.Twin(k.record.Name, vfs...), vm.Options{
		Mode: vm.ModeIncoming, Dir: filepath.Join(k.record.Dir, fmt.Sprintf("moved-%d", k.moves)),
		Scale: k.record.Scale, Journal: k.undo.Add,
	})
	if err != nil {
		return nil, err
	}
	done, err := from.Migrate(ctx, to, vm.MigrateOptions{Progress: func(m vm.Migration) {
		c.progress(
			"%s, %d MiB of memory and %d MiB of VF state moved, %d MiB left",
			m.Status, m.RAM>>20, m.VF>>20, m.Remaining>>20,
		)
	}})
	if !done.Moved {
		return nil, errors.Join(err, to.Close(ctx))
	}
	// From here on k holds the machine to, even if a later step fails.
	if err = errors.Join(err, k.moved(to, vfs), from.Close(ctx)); err != nil {
		return nil, fmt.Errorf(
			"machine %s has moved and runs in its new QEMU (pid %d), but: %w", k.record.Name, to.PID(), err,
		)
	}
	return done, nil
}

// moved makes to the machine of k, and records its VFs.
func (k *keeper) moved(to *vm.VM, vfs []vm.VF) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.machine, k.record.Spec.VFs, k.record.Logs = to, vfs, to.Dir()
	return k.record.write()
}
