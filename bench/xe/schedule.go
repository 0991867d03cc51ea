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
	"vmtb/bench/pci"
	"vmtb/bench/undo"
	"vmtb/bench/xe/vgpu"
)

// A Scheduler divides GPU time among the PF and its VFs. If sysfs has sriov_admin, it writes only
// there, so that automatic provisioning stays automatic. If the kernel lacks a feature, the error
// matches [bench.ErrNotAvailable].
type Scheduler struct {
	files
	device *pci.Device
	plan   *vgpu.Scheduling // the last plan; nil before one was provisioned
}

// A Priority is the priority of a function when several want the GPU. VFs have low or normal
// priority.
type Priority string

// These are the priorities, by their number in debugfs.
const (
	Low    Priority = "low"
	Normal Priority = "normal"
	High   Priority = "high"
)

// TimeSlice reads the time slice of function fn (0 is the PF). If the GTs differ, there is no
// single value, and the error matches EUCLEAN.
func (s *Scheduler) TimeSlice(fn int) (vgpu.TimeSlice, error) {
	var t vgpu.TimeSlice
	for i, set := range s.timeSlice(fn, vgpu.TimeSlice{}) {
		n, err := s.read(set.file)
		if err != nil {
			return t, err
		}
		field := []*uint64{&t.Quantum, &t.Timeout}[i%2]
		if i >= 2 && *field != n {
			return t, &bench.HostError{
				Op: "read", Noun: set.file,
				Err: fmt.Errorf("the value is %d, but %d on another GT: %w", n, *field, errUnclean),
			}
		}
		*field = n
	}
	return t, nil
}

// SetTimeSlice changes the execution quantum and preemption timeout of function fn (0 is the PF) on
// all GTs.
func (s *Scheduler) SetTimeSlice(ctx context.Context, fn int, t vgpu.TimeSlice) error {
	for _, set := range s.timeSlice(fn, t) {
		if err := s.apply(ctx, set, true); err != nil {
			return err
		}
	}
	return nil
}

// Priority reads the priority of function fn (0 is the PF). If the GTs differ, there is no single
// value, and the error matches EUCLEAN.
func (s *Scheduler) Priority(fn int) (Priority, error) {
	if s.hasAdmin() {
		return parsed(s.files, parseChoice, s.adminFile(fn, "sched_priority"))
	}
	var all Priority
	for i, gt := range s.gts {
		file := s.gtFile(fn, gt, "sched_priority")
		now, err := parsed(s.files, parsePriority, file)
		if err != nil {
			return "", err
		}
		if i > 0 && now != all {
			return "", &bench.HostError{
				Op: "read", Noun: file,
				Err: fmt.Errorf("the value is %s, but %s on another GT: %w", now, all, errUnclean),
			}
		}
		all = now
	}
	return all, nil
}

// SetPriority changes the priority of the PF and all its VFs, because the kernel cannot change one
// alone. want is Low or Normal. With Normal, idle VFs keep their time slices.
func (s *Scheduler) SetPriority(ctx context.Context, want Priority) error {
	if want != Low && want != Normal {
		return &bench.UsageError{Err: fmt.Errorf("priority %q: VFs have %s or %s", want, Low, Normal)}
	}
	total, err := s.device.TotalVFs()
	if err != nil {
		return err
	}
	return s.setIfIdle(ctx, want == Normal, total)
}

// provision brings the scheduling of the PF and all VFs to plan. VFs from n+1 on get the default.
func (s *Scheduler) provision(ctx context.Context, plan vgpu.Scheduling, n, total int) error {
	s.plan = &plan
	if err := s.setSlices(ctx, plan, n, total, true); err != nil {
		return err
	}
	return s.setIfIdle(ctx, plan.ScheduleIfIdle, total)
}

// reapply writes the time slices of the plan for n VFs that were enabled since.
func (s *Scheduler) reapply(ctx context.Context, n int) error {
	if s.plan == nil {
		return nil
	}
	return s.setSlices(ctx, *s.plan, n, n, false)
}

// setSlices brings the time slices of the PF and VF1..total to plan, and reads them back. VFs from
// n+1 on get the default. If recorded is true, it journals the old values.
func (s *Scheduler) setSlices(ctx context.Context, plan vgpu.Scheduling, n, total int, recorded bool) error {
	for fn := 0; fn <= total; fn++ {
		slice := vgpu.TimeSlice{}
		switch {
		case fn == 0:
			slice = plan.PF
		case fn <= n:
			slice = plan.VF
		}
		for _, set := range s.timeSlice(fn, slice) {
			if err := s.apply(ctx, set, recorded); err != nil {
				return err
			}
		}
	}
	return nil
}

// timeSlice returns the settings that give fn the time slice t: in sysfs for all GTs at once, in
// debugfs on each GT.
func (s *Scheduler) timeSlice(fn int, t vgpu.TimeSlice) []setting {
	quantum, timeout := min(t.Quantum, maxQuantum), min(t.Timeout, maxTimeout)
	if s.hasAdmin() {
		return []setting{
			{s.adminFile(fn, "exec_quantum_ms"), t.Quantum, quantum},
			{s.adminFile(fn, "preempt_timeout_us"), t.Timeout, timeout},
		}
	}
	var list []setting
	for _, gt := range s.gts {
		list = append(list,
			setting{s.gtFile(fn, gt, "exec_quantum_ms"), t.Quantum, quantum},
			setting{s.gtFile(fn, gt, "preempt_timeout_us"), t.Timeout, timeout})
	}
	return list
}

// rememberVFs journals the time slices of VFs that are not the default. The return to automatic
// mode wipes them.
func (s *Scheduler) rememberVFs(ctx context.Context) error {
	total, err := s.device.TotalVFs()
	if err != nil {
		return err
	}
	for vf := 1; vf <= total; vf++ {
		for _, set := range s.timeSlice(vf, vgpu.TimeSlice{}) {
			now, err := s.read(set.file)
			if err != nil || now == 0 {
				continue // unreadable if the GTs differ: there is no single old value
			}
			if err := s.record(ctx, undo.Write{Path: set.file, Old: strconv.FormatUint(now, 10)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// rememberPF journals the PF's time slice and the priorities. Drivers of Linux 7.3 change them when
// VFs are enabled and disabled in automatic mode (xe_gt_sriov_pf_config_set_fair_sched,
// xe_sriov_pf_reprovision_default). They also change after a switch to custom mode, or if enabling
// VFs fails. So only a record restores them.
func (s *Scheduler) rememberPF(ctx context.Context) error {
	if !s.hasAdmin() {
		return nil // up to Linux 6.18
	}
	for _, set := range s.timeSlice(0, vgpu.TimeSlice{}) {
		now, err := s.read(set.file)
		if err != nil {
			continue // unreadable if the GTs differ: there is no single old value
		}
		if err := s.record(ctx, undo.Write{Path: set.file, Old: strconv.FormatUint(now, 10)}); err != nil {
			return err
		}
	}
	now, err := s.priorities(1)
	if errors.Is(err, bench.ErrNotAvailable) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.recordPriority(ctx, now[0]); err != nil {
		return err
	}
	if vf := cmp.Or(now[1], Low); vf != Low {
		return s.record(ctx, undo.Write{Path: s.bulkFile("sched_priority"), Blind: true, Restore: string(vf)})
	}
	return nil
}

// recordPriority journals the PF's own priority. It must come before the record of the bulk write,
// which overwrites the priority. Undone last, it restores the priority.
func (s *Scheduler) recordPriority(ctx context.Context, now Priority) error {
	now = cmp.Or(now, Low) // if the GTs differ there is no single old value: low is the default
	old := strings.Replace("low normal high", string(now), "["+string(now)+"]", 1)
	return s.record(ctx, undo.Write{Path: s.adminFile(0, "sched_priority"), Old: old, Restore: string(now)})
}

// setIfIdle sets whether idle VFs keep their time slices. With normal priority of all functions
// they do; with low priority they do not.
func (s *Scheduler) setIfIdle(ctx context.Context, on bool, total int) error {
	if s.hasAdmin() {
		return s.setPriority(ctx, on, total)
	}
	for _, gt := range s.gts { // kernels before sriov_admin
		if err := s.apply(ctx, onOff(s.gtFile(0, gt, "sched_if_idle"), on), true); err != nil {
			return err
		}
	}
	return nil
}

// setPriority sets the priority of all functions in bulk, which is sysfs' form of schedule-if-idle,
// and reads it back.
func (s *Scheduler) setPriority(ctx context.Context, ifIdle bool, total int) error {
	want := Low
	if ifIdle {
		want = Normal
	}
	now, err := s.priorities(total)
	switch {
	case want == Low && errors.Is(err, bench.ErrNotAvailable):
		return nil
	case err != nil:
		return err
	case other(now, want) < 0:
		return nil
	}
	if err := s.recordPriority(ctx, now[0]); err != nil {
		return err
	}
	bulk := undo.Write{Path: s.bulkFile("sched_priority"), Blind: true, Restore: string(cmp.Or(now[1], Low))}
	if err := s.tree.Change(ctx, bulk, string(want)); err != nil {
		return available(bulk.Path, err)
	}
	if now, err = s.priorities(total); err != nil {
		return err
	}
	if fn := other(now, want); fn >= 0 {
		return &bench.HostError{
			Op: "write", Noun: bulk.Path, Value: string(want),
			Err: fmt.Errorf("%s then reads %s",
				s.adminFile(fn, "sched_priority"), cmp.Or(string(now[fn]), "differently from GT to GT")),
		}
	}
	return nil
}

// priorities returns the priorities of the PF and all VFs, "" where the GTs differ.
func (s *Scheduler) priorities(total int) ([]Priority, error) {
	list := make([]Priority, total+1)
	for fn := range list {
		var err error
		if list[fn], err = s.Priority(fn); err != nil && !errors.Is(err, errUnclean) {
			return nil, err
		}
	}
	return list, nil
}

// other returns the index of the first priority that differs from want, or -1.
func other(list []Priority, want Priority) int {
	return slices.IndexFunc(list, func(p Priority) bool { return p != want })
}

// parseChoice reads "[low] normal high".
func parseChoice(text string) (Priority, error) {
	c := Priority(chosen(text))
	if c != Low && c != Normal && c != High || strings.Count(text, "[") != 1 {
		return "", fmt.Errorf("no choice in %q", text)
	}
	return c, nil
}

// chosen returns the word in brackets: "normal" of "low [normal] high".
func chosen(line string) string {
	_, rest, _ := strings.Cut(line, "[")
	word, _, _ := strings.Cut(rest, "]")
	return word
}

// parsePriority reads a number.
func parsePriority(text string) (Priority, error) {
	c, ok := map[string]Priority{"0": Low, "1": Normal, "2": High}[text]
	if !ok {
		return "", fmt.Errorf("%q is not a priority", text)
	}
	return c, nil
}
