package contract

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A move saves and restores VF1, driven on the host, to change its GGTT range.
type move struct {
	p  *Probe
	to span // range that the VF's driver should have after the last restore
}

// newMove enables two VFs. xe drives the first one.
func (p *Probe) newMove(ctx context.Context) (*move, error) {
	if err := p.smallVFs(ctx, 2); err != nil {
		return nil, err
	}
	return &move{p: p}, p.all(ctx, write(override, "xe"), write(bindXe, "{VF1}"))
}

// restore pauses and saves VF1, gives it another range, restores it and resumes it. It moves the
// idle VF2 to free that range.
func (m *move) restore(ctx context.Context) error {
	p := m.p
	if err := p.all(ctx, write(pauseVF1, "1")); err != nil {
		return err
	}
	stream, err := p.save(ctx)
	if err != nil {
		return err
	}
	before, err := p.ggttOf(1)
	if err != nil {
		return err
	}
	first, second := 2, 1 // the VF that gets its range first gets the higher one
	if other, err := p.ggttOf(2); err != nil {
		return err
	} else if other.start > before.start {
		first, second = 1, 2
	}
	size := strconv.FormatUint(p.smallGGTT(), 10)
	err = p.all(
		ctx, write("T/vf1/ggtt_quota", "0"), write("T/vf2/ggtt_quota", "0"), write(ggttQuota(first), size),
		write(ggttQuota(second), size),
	)
	if err != nil {
		return err
	}
	if m.to, err = p.ggttOf(1); err != nil || m.to.start == before.start {
		return differs(err, "VF1 still has the range at %#x", before.start)
	}
	if err := p.feed(ctx, 1, stream, len(stream)); err != nil {
		return err
	}
	return errors.Join(p.Reads(restore1, ""), p.all(ctx, write("D/sriov/vf1/resume", "1")))
}

func ggttQuota(vf int) string { return fmt.Sprintf("T/vf%d/ggtt_quota", vf) }

// arrived returns nil if the VF's driver has the new range.
func (m *move) arrived() error {
	text, err := m.p.Read("D1/gt0/vf/self_config")
	if want := fmt.Sprintf("GGTT range:\t%#x-", m.to.start); err != nil || !strings.Contains(text, want) {
		return differs(err, "self_config is %q, want %q in it", text, want)
	}
	return nil
}

func (m *move) arrives(ctx context.Context) error { return m.p.await(ctx, m.arrived) }

// held returns nil if the VF's driver does not get the new range within holdTime.
func (m *move) held(ctx context.Context, stage string) error {
	select {
	case <-time.After(holdTime): // there is no event to wait for
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if m.arrived() == nil {
		return fmt.Errorf("the recovery goes on although resfix_stoppers is %s", stage)
	}
	return nil
}

// holdTime is longer than the interval at which the driver checks resfix_stoppers, or a restore.
const holdTime = 1500 * time.Millisecond

// checkRecoveryStages stops a recovery at each stage. The VF's range shows that it reached the
// fixups. A second restore that must wait shows that it has not ended.
func checkRecoveryStages(ctx context.Context, p *Probe) error {
	m, err := p.newMove(ctx)
	if err != nil {
		return err
	}
	if err := p.needStoppers(); err != nil {
		return err
	}
	if err := errors.Join(
		p.all(ctx, become(stoppers1, "0x0f", "0xf")), m.restore(ctx), m.held(ctx, "0x0f"),
	); err != nil {
		return err
	}
	if err := errors.Join(p.all(ctx, become(stoppers1, "0x0e", "0xe")), m.held(ctx, "0x0e")); err != nil {
		return err
	}
	if err := errors.Join(
		p.all(ctx, become(stoppers1, "0x0c", "0xc")), m.arrives(ctx), m.restore(ctx), m.held(ctx, "0x0c"),
	); err != nil {
		return err
	}
	files := p.each(stoppers1)
	last := len(files) - 1 // the last GT is enough
	if err := p.all(ctx, become(stoppers1, "0x08", "0x8"), Step{
		files: files[:last], values: []string{"0"},
	}); err != nil {
		return err
	}
	if err := errors.Join(m.held(ctx, "0x08"), p.all(ctx, read("0x08", files[last]))); err != nil {
		return err
	}
	return errors.Join(p.all(ctx, write(stoppers1, "0")), m.arrives(ctx))
}
