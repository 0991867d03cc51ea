package contract

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

const (
	control       = "G/vf1/control"
	pause, resume = "D/sriov/vf1/pause", "D/sriov/vf1/resume"
	stop, reset   = "D/sriov/vf1/stop", "D/sriov/vf1/reset"
)

var controlRules = []Rule{
	{ID: "control_read", Doc: "Reading control lists its words.", Steps: []Step{read("stop\npause\nresume", control)}},
	{
		ID: "control_states",
		Doc: "The states of a VF on a GT: a paused VF cannot be paused (ESTALE), a VF that is not paused cannot be " +
			"resumed (EPERM), a stopped VF can be neither paused nor resumed.",
		Steps: []Step{
			write(numvfs, "1"), refuse(syscall.EPERM, control, "resume"), write(control, "pause"),
			refuse(syscall.ESTALE, control, "pause"), write(control, "resume"),
			refuse(syscall.EPERM, control, "resume"),
			write(control, "pause\n"), write(control, "stop"), refuse(syscall.ESTALE, control, "stop"),
			refuse(syscall.EPERM, control, "pause", "resume"),
		},
	},
	{
		ID: "control_stop_running", Doc: "A running VF can be stopped.",
		Steps: []Step{write(numvfs, "1"), write(control, "stop"), refuse(syscall.ESTALE, control, "stop")},
	},
	{
		ID: "control_words", Doc: "control accepts any word, and ignores those that it does not know.",
		Steps: []Step{
			write(numvfs, "1"), write(control, "clear", "reset", "restore!", "Pause", "stopp", "\n"),
			refuse(syscall.EPERM, control, "resume"), write(control, "pause"), write(control, "clear"),
			refuse(syscall.ESTALE, control, "pause"),
		},
	},
	{
		ID: "control_length", Doc: "More than 31 bytes to control are EINVAL.",
		Steps: []Step{
			refuse(syscall.EINVAL, control, strings.Repeat("x", 32), "stop"+strings.Repeat("\n", 28)),
			write(control, strings.Repeat("x", 31)),
		},
	},
	{
		ID: "control_offset", Doc: "control accepts one write per opening; the second is at another offset: ESPIPE.",
		Check: checkControlOffset,
	},
	{
		ID: "control_gts", Doc: "control works on its own GT only.", Needs: []Need{twoGTs},
		Steps: []Step{
			write(numvfs, "1"), write("G0/vf1/control", "pause"), refuse(syscall.EPERM, "G1/vf1/control", "resume"),
			write("G1/vf1/control", "stop"), write("G0/vf1/control", "resume"),
		},
	},
	{
		ID: "control_disable", Doc: "Disabling VFs resets their state.",
		Steps: []Step{
			write(numvfs, "1"), write(control, "stop"), write(numvfs, "0"), write(numvfs, "1"), write(control, "pause"),
		},
	},
	{
		ID: "control_flr", Doc: "A function level reset resets the VF's state, too, a moment later.",
		Steps: []Step{write(numvfs, "1"), write(control, "stop"), write("V1/reset", "1")}, Check: checkFLR,
	},
	{
		ID: "operation_bool", Doc: "Operations are booleans whose first character counts; false does nothing.",
		Needs: []Need{tree},
		Steps: []Step{
			write(numvfs, "1"), refuse(syscall.EINVAL, pause, "x", "2", "\n"), refuse(syscall.EINVAL, reset, "x"),
			write(pause, "0", "no", "0x1"), write(stop, "0"), write(pause, "yes"),
			write(resume, "0"), refuse(syscall.ESTALE, "G0/vf1/control", "pause"), write(reset, "off"),
			refuse(syscall.ESTALE, "G0/vf1/control", "pause"),
		},
	},
	{
		ID: "operation_all_gts", Doc: "Operations work on all GTs.", Needs: []Need{tree},
		Steps: []Step{
			write(numvfs, "1"), write(pause, "1"), refuse(syscall.ESTALE, control, "pause"), write(resume, "1"),
			refuse(syscall.EPERM, control, "resume"),
			write(stop, "1"), refuse(syscall.ESTALE, control, "stop"), write(reset, "1"), write(control, "pause"),
		},
	},
	{
		ID: "fold_one_gt", Doc: "With one GT the errno of an operation is that of the GT.", Needs: []Need{tree, oneGT},
		Steps: []Step{
			write(numvfs, "1"), refuse(syscall.EPERM, resume, "1"), write(pause, "1"),
			refuse(syscall.ESTALE, pause, "1"), write(stop, "1"), refuse(syscall.ESTALE, stop, "1"),
			refuse(syscall.EPERM, pause, "1"),
		},
	},
	{
		ID: "fold_two_gts", Doc: "With two GTs, an operation that fails on the first or on both is EUCLEAN.",
		Needs: []Need{tree, twoGTs},
		Steps: []Step{
			write(numvfs, "1"), refuse(syscall.EUCLEAN, resume, "1"), write(pause, "1"),
			refuse(syscall.EUCLEAN, pause, "1"), write(stop, "1"), refuse(syscall.EUCLEAN, stop, "1"),
			refuse(syscall.EUCLEAN, pause, "1"),
		},
	},
	{
		ID: "fold_first", Doc: "An operation that fails on the first GT is still done on the second.",
		Needs: []Need{tree, twoGTs},
		Steps: []Step{
			write(numvfs, "1"), write("G0/vf1/control", "pause"), refuse(syscall.EUCLEAN, pause, "1"),
			refuse(syscall.ESTALE, "G1/vf1/control", "pause"),
		},
	},
	{
		ID: "fold_second", Doc: "If an operation fails only on the second (the last) GT, the errno is that GT's.",
		Needs: []Need{tree, twoGTs},
		Steps: []Step{
			write(numvfs, "1"), write("G1/vf1/control", "pause"), refuse(syscall.ESTALE, pause, "1"),
			refuse(syscall.ESTALE, "G0/vf1/control", "pause"),
		},
	},
	{
		ID: "operation_offset", Doc: "An operation file refuses a write at another offset: EINVAL.",
		Needs: []Need{tree},
		Check: func(_ context.Context, p *Probe) error {
			return p.withFile(pause, os.O_WRONLY, writeBehind)
		},
	},
}

// withFile calls do with the open file.
func (p *Probe) withFile(file string, flag int, do func(File) error) error {
	f, err := p.open(file, flag)
	if err != nil {
		return err
	}
	return errors.Join(do(f), f.Close())
}

func checkControlOffset(_ context.Context, p *Probe) error {
	for _, file := range p.each("G/vf1/control") {
		err := p.withFile(file, os.O_WRONLY, func(f File) error {
			if _, err := f.Write([]byte("nothing")); err != nil {
				return err
			}
			_, err := f.Write([]byte("nothing"))
			return wantErrno(syscall.ESPIPE, err, fmt.Sprintf("writing to %s again", file))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// checkFLR waits until the PF has noticed that the VF was reset. A VF that was stopped can be
// paused then.
func checkFLR(ctx context.Context, p *Probe) error {
	for _, file := range p.each("G/vf1/control") {
		if err := p.await(ctx, func() error { return p.Refuses(ctx, 0, file, "pause") }); err != nil {
			return err
		}
	}
	return nil
}
