package xe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"vmtb/bench"
	"vmtb/bench/undo"
	"vmtb/bench/xe/vgpu"
)

// schedule makes the scheduling of the PF and all VFs what s says; VFs from n+1 on get the default. Where sysfs has
// sriov_admin only that is used, so that automatic provisioning stays automatic.
func (p *PF) schedule(ctx context.Context, s vgpu.Scheduling, n, total int) error {
	if err := p.setSlices(ctx, s, n, total, true); err != nil {
		return err
	}
	return p.setIfIdle(ctx, s.ScheduleIfIdle, total)
}

// setSlices makes the time slices of the PF and VF1..total what s says, VFs from n+1 on getting the default, and reads them
// back. recorded says whether the journal needs to know the values that were there.
func (p *PF) setSlices(ctx context.Context, s vgpu.Scheduling, n, total int, recorded bool) error {
	for fn := 0; fn <= total; fn++ {
		slice := vgpu.TimeSlice{}
		switch {
		case fn == 0:
			slice = s.PF
		case fn <= n:
			slice = s.VF
		}
		for _, s := range p.timeSlice(fn, slice) {
			if err := p.apply(ctx, s, recorded); err != nil {
				return err
			}
		}
	}
	return nil
}

// setIfIdle says whether idle VFs keep their time slices, which goes with normal and low priority of all functions.
func (p *PF) setIfIdle(ctx context.Context, on bool, total int) error {
	if p.hasAdmin() {
		return p.setPriority(ctx, on, total)
	}
	return p.setIdlePolicy(ctx, on)
}

// SetPriority changes the priority of the PF and all its VFs, which the kernel offers in no other way: low, or normal, with which
// idle VFs keep their time slices.
func (p *PF) SetPriority(ctx context.Context, want Priority) error {
	if want != Low && want != Normal {
		return &bench.UsageError{Err: fmt.Errorf("priority %q: VFs have %s or %s", want, Low, Normal)}
	}
	total, err := p.TotalVFs()
	if err != nil {
		return err
	}
	return p.setIfIdle(ctx, want == Normal, total)
}

// rememberTimeSlices records those of VFs that are not the default, because the return to automatic mode wipes them.
func (p *PF) rememberTimeSlices(ctx context.Context) error {
	total, err := p.TotalVFs()
	if err != nil {
		return err
	}
	for vf := 1; vf <= total; vf++ {
		for _, s := range p.timeSlice(vf, vgpu.TimeSlice{}) {
			now, err := p.read(s.file)
			if err != nil || now == 0 {
				continue // unreadable where GTs differ: there is no one value to go back to
			}
			if err := p.record(ctx, undo.Write{Path: s.file, Old: strconv.FormatUint(now, 10)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// rememberPF records the PF's time slice and the priorities, which drivers of Linux 7.3 change when VFs are enabled and
// disabled in automatic mode (xe_gt_sriov_pf_config_set_fair_sched, xe_sriov_pf_reprovision_default). Neither a change to
// custom mode in between nor VFs that could not be enabled leave the PF as it was, so that only a record brings it back.
func (p *PF) rememberPF(ctx context.Context) error {
	if !p.hasAdmin() {
		return nil // up to Linux 6.18
	}
	for _, s := range p.timeSlice(0, vgpu.TimeSlice{}) {
		now, err := p.read(s.file)
		if err != nil {
			continue // unreadable where GTs differ: there is no one value to go back to
		}
		if err := p.record(ctx, undo.Write{Path: s.file, Old: strconv.FormatUint(now, 10)}); err != nil {
			return err
		}
	}
	now, err := p.priorities(1)
	if errors.Is(err, bench.ErrNotAvailable) {
		return nil
	}
	if err != nil {
		return err
	}
	return p.recordPriorities(ctx, now)
}

// recordPriorities records those of the PF and VF1. Undone last, the PF's own overwrites what the bulk write gave it.
func (p *PF) recordPriorities(ctx context.Context, now []Priority) error {
	pf := cmp.Or(now[0], Low) // GTs that differ have no one priority to go back to: low is the default
	old := strings.Replace("low normal high", string(pf), "["+string(pf)+"]", 1)
	if err := p.record(ctx, undo.Write{Path: p.adminFile(0, "sched_priority"), Old: old, Restore: string(pf)}); err != nil {
		return err
	}
	if vf := cmp.Or(now[1], Low); vf != Low {
		return p.record(ctx, undo.Write{Path: p.bulkFile("sched_priority"), Blind: true, Restore: string(vf)})
	}
	return nil
}

// SetTimeSlice changes the execution quantum and preemption timeout of the PF (fn 0) or VF fn, on all GTs.
func (p *PF) SetTimeSlice(ctx context.Context, fn int, t vgpu.TimeSlice) error {
	for _, s := range p.timeSlice(fn, t) {
		if err := p.apply(ctx, s, true); err != nil {
			return err
		}
	}
	return nil
}

// record journals what a later write, to another file, will change.
func (p *PF) record(ctx context.Context, w undo.Write) error {
	return p.tree.Log.Do(ctx, w, func() error { return nil })
}

// timeSlice are the settings that give fn the time slice t: in sysfs for all GTs at once, in debugfs on each GT.
func (p *PF) timeSlice(fn int, t vgpu.TimeSlice) []setting {
	quantum, timeout := min(t.Quantum, maxQuantum), min(t.Timeout, maxTimeout)
	if p.hasAdmin() {
		return []setting{
			{p.adminFile(fn, "exec_quantum_ms"), t.Quantum, quantum},
			{p.adminFile(fn, "preempt_timeout_us"), t.Timeout, timeout},
		}
	}
	var list []setting
	for _, gt := range p.GTs {
		list = append(list,
			setting{p.gtFile(fn, gt, "exec_quantum_ms"), t.Quantum, quantum},
			setting{p.gtFile(fn, gt, "preempt_timeout_us"), t.Timeout, timeout})
	}
	return list
}

// setPriority chooses the priority of all functions in bulk, which is how sysfs offers schedule-if-idle, and reads it back.
func (p *PF) setPriority(ctx context.Context, ifIdle bool, total int) error {
	want := Low
	if ifIdle {
		want = Normal
	}
	now, err := p.priorities(total)
	switch {
	case want == Low && errors.Is(err, bench.ErrNotAvailable):
		return nil
	case err != nil:
		return err
	case other(now, want) < 0:
		return nil
	}
	// The bulk write overwrites the PF's own priority. Undone last, this record brings it back.
	pf := cmp.Or(now[0], Low) // GTs that differ have no one priority to go back to: low is the default
	old := strings.Replace("low normal high", string(pf), "["+string(pf)+"]", 1)
	if err := p.record(ctx, undo.Write{Path: p.adminFile(0, "sched_priority"), Old: old, Restore: string(pf)}); err != nil {
		return err
	}
	bulk := undo.Write{Path: p.bulkFile("sched_priority"), Blind: true, Restore: string(cmp.Or(now[1], Low))}
	if err := p.tree.Change(ctx, bulk, string(want)); err != nil {
		return available(bulk.Path, err)
	}
	if now, err = p.priorities(total); err != nil {
		return err
	}
	if fn := other(now, want); fn >= 0 {
		return &bench.HostError{
			Op: "write", Noun: bulk.Path, Value: string(want),
			Err: fmt.Errorf("%s reads %s afterwards", p.adminFile(fn, "sched_priority"), cmp.Or(string(now[fn]), "differently from GT to GT")),
		}
	}
	return nil
}

// priorities are those of the PF and all VFs; "" where the GTs differ.
func (p *PF) priorities(total int) ([]Priority, error) {
	list := make([]Priority, total+1)
	for fn := range list {
		var err error
		if list[fn], err = p.Priority(fn); err != nil && !errors.Is(err, errUnclean) {
			return nil, err
		}
	}
	return list, nil
}

// other is the first that is not what all should be, -1 if there is none.
func other(list []Priority, want Priority) int {
	return slices.IndexFunc(list, func(p Priority) bool { return p != want })
}

// chosen is the word in brackets: "normal" of "low [normal] high".
func chosen(line string) string {
	_, rest, _ := strings.Cut(line, "[")
	word, _, _ := strings.Cut(rest, "]")
	return word
}

// setIdlePolicy is the same through debugfs, for kernels before sriov_admin.
func (p *PF) setIdlePolicy(ctx context.Context, ifIdle bool) error {
	for _, gt := range p.GTs {
		if err := p.apply(ctx, onOff(p.gtFile(0, gt, "sched_if_idle"), ifIdle), true); err != nil {
			return err
		}
	}
	return nil
}

func onOff(file string, on bool) setting {
	if on {
		return setting{file, 1, 1}
	}
	return setting{file, 0, 0}
}

// secure sets the firmware's policies on the PF and the thresholds of VFs 1 to n.
func (p *PF) secure(ctx context.Context, s vgpu.Security, n int) error {
	var list []setting
	for _, gt := range p.GTs {
		list = append(list,
			onOff(p.gtFile(0, gt, "reset_engine"), s.ResetAfterSwitch),
			setting{p.gtFile(0, gt, "sample_period_ms"), s.SamplePeriod, s.SamplePeriod})
	}
	for _, s := range list {
		if err := p.apply(ctx, s, true); err != nil {
			return err
		}
	}
	for vf := 1; vf <= n; vf++ {
		if err := p.SetThresholds(ctx, vf, s.Thresholds); err != nil {
			return err
		}
	}
	return nil
}

// SetThresholds changes the thresholds of function fn (0 is the PF), on all GTs.
func (p *PF) SetThresholds(ctx context.Context, fn int, t vgpu.Thresholds) error {
	for _, gt := range p.GTs {
		for _, c := range t.Counters() {
			if err := p.apply(ctx, setting{p.gtFile(fn, gt, thresholdFile(c)), *c.Value, *c.Value}, true); err != nil {
				return err
			}
		}
	}
	return nil
}

func thresholdFile(c vgpu.Counter) string { return "threshold_" + c.Name }
