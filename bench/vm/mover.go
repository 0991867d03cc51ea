package vm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/bench/qmp"
)

// A BlockedError says why the state of a machine cannot be saved or moved. It matches
// [bench.ErrNotAvailable].
type BlockedError struct {
	Machine string
	Op      string
	Reasons []string // QEMU's words (query-migrate, blocked-reasons)
}

func (e *BlockedError) Error() string {
	text := fmt.Sprintf("%s: %s: its state cannot be moved: %s", e.Machine, e.Op, strings.Join(e.Reasons, "; "))
	for _, r := range e.Reasons {
		for _, a := range blockAdvice {
			if strings.Contains(r, a.output) {
				return text + " (" + a.advice + ")"
			}
		}
	}
	return text
}

func (e *BlockedError) Unwrap() error { return bench.ErrNotAvailable }

// blockAdvice explains QEMU's reasons (hw/vfio/migration.c). What moves the state of a VF is its
// driver on the host, so that is what must be there.
var blockAdvice = []struct{ output, advice string }{
	{
		"not supported in kernel",
		"the VF's driver cannot move its state: bind the vendor VFIO driver (xe-vfio-pci, Linux 6.19 or newer with " +
			"CONFIG_XE_VFIO_PCI) instead of vfio-pci",
	},
	{"dirty", "the VF's driver does not track written memory: start the machine with EnableMigration"},
	{"P2P", "several VFs in one machine need a driver that can stop traffic between devices (P2P)"},
	{"IOMMU", "take the virtual IOMMU out of the machine"},
	{"disabled", "start the machine with EnableMigration"},
}

// A mover moves a machine's state out of its QEMU or into it, over QEMU's migration protocol.
type mover struct {
	life    *life
	qmp     *qmp.Client
	states  *states
	sizeMiB int   // the most that the state can take
	vfsMiB  []int // the same for the state of each VF
}

// check returns nil unless QEMU says that the machine's state cannot be saved or moved, or the host
// lacks the memory for it.
func (v *mover) check(ctx context.Context, op string) error {
	var reply struct {
		Reasons []string `json:"blocked-reasons"`
	}
	if err := v.qmp.Execute(ctx, "query-migrate", nil, &reply); err != nil {
		return err
	}
	if len(reply.Reasons) > 0 {
		return &BlockedError{Machine: v.life.name, Op: op, Reasons: reply.Reasons}
	}
	return bench.CheckMovingMemory(fmt.Sprintf("%s: %s", v.life, op), v.vfsMiB...)
}

// room returns nil if the file system of path has space for the machine's state with none of its
// memory empty.
func (v *mover) room(op, path string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return infra(fmt.Sprintf("%s: %s: look at the disk of %s", v.life, op, path), err)
	}
	free, need := int64(fs.Bavail)*fs.Bsize>>20, int64(v.sizeMiB)
	if free < need {
		return &bench.InfraError{
			Op:     fmt.Sprintf("%s: %s to %s", v.life, op, path),
			Err:    fmt.Errorf("%w: %d MiB free, up to %d MiB needed", unix.ENOSPC, free, need),
			Advice: "free some space",
		}
	}
	return nil
}

// settle ends a migration that may still run. Until it has ended, QEMU does not let the guest run.
func (v *mover) settle(ctx context.Context) error {
	events := v.qmp.Subscribe(isMigration)
	defer events.Close()
	now, err := v.progress(ctx)
	if err == nil && now.Status != "" && now.Status != "none" && now.Status != "completed" {
		_ = v.qmp.Execute(ctx, "migrate_cancel", nil, nil) // QEMU refuses if the migration has ended
		_, err = v.follow(ctx, events, func(Migration) {}) // QEMU may not have been told to send events
	}
	if errors.Is(err, ErrCancelled) || errors.As(err, new(*bench.GuestError)) { // a failed migration has ended, too
		return nil
	}
	return err
}

// receive makes QEMU wait for a state on uri.
func (v *mover) receive(ctx context.Context, uri string) error {
	if err := v.announce(ctx); err != nil {
		return err
	}
	return v.qmp.Execute(ctx, "migrate-incoming", map[string]any{"uri": uri}, nil)
}

// announce makes QEMU send events about a migration.
func (v *mover) announce(ctx context.Context) error {
	on := []map[string]any{{"capability": "events", "state": true}}
	return v.qmp.Execute(ctx, "migrate-set-capabilities", map[string]any{"capabilities": on}, nil)
}

// send moves the state to uri, and returns when QEMU reports that it has moved. When ctx ends, it
// cancels the migration.
func (v *mover) send(ctx context.Context, uri string, o MigrateOptions) (Migration, error) {
	if err := v.announce(ctx); err != nil {
		return Migration{}, err
	}
	downtime := cmp.Or(o.Downtime, time.Second)
	if o.Downtime == 0 && len(v.vfsMiB) > 0 {
		downtime = 10 * time.Second
	}
	limits := map[string]any{"max-bandwidth": 0, "downtime-limit": v.life.scaled(downtime).Milliseconds()}
	if err := v.qmp.Execute(ctx, "migrate-set-parameters", limits, nil); err != nil {
		return Migration{}, err
	}
	events := v.qmp.Subscribe(isMigration)
	defer events.Close()
	if err := v.qmp.Execute(ctx, "migrate", map[string]any{"uri": uri}, nil); err != nil {
		return Migration{}, err
	}
	done, err := v.follow(ctx, events, o.Progress)
	if ctx.Err() != nil {
		return done, v.cancel(ctx, events)
	}
	return done, err
}

// arrived returns when the state has come in.
func (v *mover) arrived(ctx context.Context) error {
	events := v.qmp.Subscribe(isMigration)
	defer events.Close()
	_, err := v.follow(ctx, events, nil)
	return err
}

// follow waits for the end of a migration. It looks after each event, and four times a second if
// tell is not nil.
func (v *mover) follow(ctx context.Context, events *qmp.Subscription, tell func(Migration)) (Migration, error) {
	for {
		now, err := v.progress(ctx)
		if err != nil || now.Status == "completed" {
			return now, err
		}
		look := ctx
		if tell != nil {
			tell(now)
			var stop context.CancelFunc
			look, stop = context.WithTimeout(ctx, progressEvery)
			_, err = events.Next(look)
			stop()
		} else {
			_, err = events.Next(look)
		}
		if err != nil && (look == ctx || ctx.Err() != nil || errors.Is(err, qmp.ErrClosed)) {
			return now, err
		}
	}
}

// progress asks QEMU how far the migration is. One that has failed or was cancelled is an error.
func (v *mover) progress(ctx context.Context) (Migration, error) {
	var reply struct {
		Status   string
		Desc     string `json:"error-desc"`
		Total    int64  `json:"total-time"` // milliseconds, as the next
		Downtime int64
		RAM      struct{ Transferred, Remaining int64 }
		VFIO     struct{ Transferred int64 }
	}
	if err := v.qmp.Execute(ctx, "query-migrate", nil, &reply); err != nil {
		return Migration{}, err
	}
	now := Migration{
		Status:   reply.Status,
		Total:    time.Duration(reply.Total) * time.Millisecond,
		Downtime: time.Duration(reply.Downtime) * time.Millisecond,
		RAM:      reply.RAM.Transferred, Remaining: reply.RAM.Remaining, VF: reply.VFIO.Transferred,
	}
	switch reply.Status {
	case "failed":
		return now, v.life.guestError(
			"move the state",
			fmt.Errorf("QEMU: %s", cmp.Or(reply.Desc, "failed, without a reason")),
		)
	case "cancelled":
		return now, ErrCancelled
	}
	return now, nil
}

// cancel ends a migration whose ctx has ended, for good.
func (v *mover) cancel(ctx context.Context, events *qmp.Subscription) error {
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), v.life.scaled(quitTime))
	defer cancel()
	err := v.qmp.Execute(clean, "migrate_cancel", nil, nil)
	if err == nil {
		_, err = v.follow(clean, events, nil)
	}
	if errors.Is(err, ErrCancelled) {
		return fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	return errors.Join(context.Cause(ctx), err)
}

// takeUp takes the machine back to the state was, after its state could not be moved.
func (v *mover) takeUp(ctx context.Context, was State) error {
	if was != Running || v.life.over() {
		return nil
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), v.life.scaled(quitTime))
	defer cancel()
	if err := v.qmp.Execute(clean, "cont", nil, nil); err != nil {
		return fmt.Errorf("the machine cannot continue: %w", err)
	}
	_, err := v.states.reach(clean, "continue after a failed migration", was)
	return err
}

func isMigration(e qmp.Event) bool { return e.Name == "MIGRATION" }
