package contract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

const (
	restoreAuto = "D/sriov/restore_auto_provisioning"
	lockdown    = "D/sriov/lockdown_vfs_enabling"
	vf1Quantum  = "A/vf1/profile/exec_quantum_ms"
)

var operationRules = []Rule{
	{
		ID: "vfs_text", Doc: "vfs has the numbers of VFs that the hardware has, that the driver supports and that " +
			"are enabled.",
		Check: checkVFsText,
	},
	{
		ID: "versions",
		Doc: "versions lists the interface version of the PF, and the version that each VF's driver has agreed on: " +
			"none at first.",
		Needs: []Need{tree},
		Steps: []Step{read("base:\t1.0\nlatest:\t1.0", "D/sriov/pf/versions")},
	},
	{
		ID: "restore_parse",
		Doc: "restore_auto_provisioning is a boolean whose first character counts; it succeeds also if there is " +
			"nothing to do.",
		Needs: []Need{tree},
		Steps: []Step{
			refuse(syscall.EINVAL, restoreAuto, "x", "2", "o", "\n", " 1", "-1"),
			write(restoreAuto, "0", "n", "false", "off", "0x1", "1", "Y", "yes", "true", "on", "10", "1\n"),
		},
	},
	{
		ID:    "restore_releases",
		Doc:   "The return to automatic mode takes all quotas, time slices and thresholds from the VFs.",
		Needs: []Need{tree},
		Steps: []Step{
			write("T/vf1/ggtt_quota", "65536"), write("G/vf1/contexts_quota", "7"),
			write("G/vf{TOTAL}/doorbells_quota", "3"), write("G/vf1/exec_quantum_ms", "5"),
			write("G/vf1/preempt_timeout_us", "6"), write("G/vf{TOTAL}/threshold_guc_time_us", "8"),
			write(restoreAuto, "0"), read("65536", "T/vf1/ggtt_quota"),
			write(restoreAuto, "1"), read("0", "T/vf1/ggtt_quota"),
			read("0", under("G/vf1/", "contexts_quota", "exec_quantum_ms", "preempt_timeout_us")...),
			read("0", "G/vf{TOTAL}/doorbells_quota", "G/vf{TOTAL}/threshold_guc_time_us"),
			read("", "T/pf/ggtt_provisioned", "G/pf/contexts_provisioned", "G/pf/doorbells_provisioned"),
		},
	},
	{
		ID: "restore_keeps_spares", Doc: "The return to automatic mode leaves the PF its spares and its own time " +
			"slice.", Needs: []Need{tree},
		Steps: []Step{
			write("G/pf/contexts_spare", "300"), write("G/pf/exec_quantum_ms", "9"), write(restoreAuto, "1"),
			read("300", "G/pf/contexts_spare"), read("9", "G/pf/exec_quantum_ms"),
		},
	},
	{
		ID: "restore_busy", Doc: "While VFs are enabled, leaving custom mode is EBUSY; in automatic mode the write " +
			"succeeds.",
		Needs: []Need{tree},
		Steps: []Step{
			write(numvfs, "1"), write(restoreAuto, "1"), write("G/vf1/exec_quantum_ms", "0"),
			refuse(syscall.EBUSY, restoreAuto, "1"), write(restoreAuto, "0"),
			write(numvfs, "0"), write(restoreAuto, "1"),
		},
	},
	{
		ID:  "restore_offset",
		Doc: "An operation file accepts consecutive writes; a write at another offset is EINVAL.", Needs: []Need{tree},
		Check: checkRestoreOffset,
	},
	{
		ID:    "custom_switch",
		Doc:   "Any number that a numeric attribute accepts, even its current one, makes the mode custom.",
		Needs: []Need{admin}, Check: checkCustomSwitch,
	},
	{
		ID: "custom_not", Doc: "A refused number, a word to control, and sriov_admin leave the mode automatic.",
		Needs: []Need{admin},
		Check: checkStaysAutomatic,
	},
	{
		ID: "lockdown", Doc: "While any process holds lockdown_vfs_enabling open, enabling VFs is EPERM.",
		Needs: []Need{tree}, Check: checkLockdown,
	},
	{
		ID: "lockdown_busy", Doc: "While VFs are enabled, opening lockdown_vfs_enabling is EBUSY.", Needs: []Need{tree},
		Steps: []Step{write(numvfs, "1")}, Check: func(_ context.Context, p *Probe) error {
			f, err := p.open(lockdown, os.O_RDONLY)
			if err == nil {
				err = errors.Join(errors.New("the file could be opened"), f.Close())
			}
			return wantErrno(syscall.EBUSY, err, "opening "+lockdown)
		},
	},
}

func (p *Probe) open(file string, flag int) (File, error) {
	at, err := p.Path(file)
	if err != nil {
		return nil, err
	}
	return p.sys.Open(at, flag)
}

func checkVFsText(ctx context.Context, p *Probe) error {
	file := "D/sriov/pf/vfs"
	if p.flat {
		file = "D/pf/vfs"
	}
	for _, enabled := range []int{0, 1} {
		if enabled > 0 {
			if err := p.write(ctx, numvfs, "1"); err != nil {
				return err
			}
		}
		text, err := p.Read(file)
		if err != nil {
			return err
		}
		var hardware int
		_, err = fmt.Sscanf(text, "total: %d", &hardware)
		if want := fmt.Sprintf("total: %d\nsupported: %d\nenabled: %d\n", hardware, p.Total, enabled); err != nil ||
			text != want || hardware < p.Total {
			return fmt.Errorf("%s reads %q, want %q, with the first number at least the second", file, text, want)
		}
	}
	return nil
}

func checkRestoreOffset(_ context.Context, p *Probe) (err error) {
	f, err := p.open(restoreAuto, os.O_WRONLY)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for range 2 {
		if _, err := f.Write([]byte("1")); err != nil {
			return err
		}
	}
	return writeBehind(f)
}

// isCustom reports whether the mode is custom. The mode cannot be read. But a value that sysfs gave
// to a VF survives the return to automatic mode only if the mode was automatic. Afterwards the mode
// is automatic.
func (p *Probe) isCustom(ctx context.Context) (bool, error) {
	if err := p.write(ctx, vf1Quantum, "7"); err != nil {
		return false, err
	}
	if err := p.auto(ctx); err != nil {
		return false, err
	}
	text, err := p.Read(vf1Quantum)
	return text == "0\n", err
}

func checkCustomSwitch(ctx context.Context, p *Probe) error {
	files := []string{"T/vf1/ggtt_quota", "T/pf/ggtt_spare"}
	if p.vram {
		files = append(files, "T/vf1/vram_quota", "T/pf/vram_spare")
	}
	for _, f := range append(
		under(
			"G/vf1/", "contexts_quota", "doorbells_quota", "exec_quantum_ms", "preempt_timeout_us",
			"threshold_page_fault_count",
		), under("G/pf/", pfGTWrite...)...,
	) {
		files = append(files, p.each(f)...)
	}
	for _, file := range files {
		if err := p.write(ctx, file, "0"); err != nil {
			return err
		}
		if custom, err := p.isCustom(ctx); err != nil || !custom {
			return differs(err, "%s <- 0 leaves the mode automatic", file)
		}
	}
	return nil
}

func checkStaysAutomatic(ctx context.Context, p *Probe) error {
	steps := []Step{
		refuse(syscall.EINVAL, "T/vf1/ggtt_quota", "x"), refuse(syscall.EINVAL, "G/vf1/contexts_quota", "65536"),
		refuse(syscall.EOVERFLOW, "G/pf/reset_engine", "2"),
		write("G/vf1/control", "nonsense"), write("A/pf/profile/preempt_timeout_us", "3"),
		write("A/.bulk_profile/sched_priority", "normal"),
		write("A/.bulk_profile/exec_quantum_ms", "4"),
	}
	for _, s := range steps {
		if err := s.run(ctx, p); err != nil {
			return err
		}
		if custom, err := p.isCustom(ctx); err != nil || custom {
			return differs(err, "%v: makes the mode custom", s)
		}
	}
	return nil
}

func checkLockdown(ctx context.Context, p *Probe) error {
	var held []File
	defer func() {
		for _, f := range held {
			_ = f.Close() // the checks below have closed their files, or failed already
		}
	}()
	for range 2 {
		f, err := p.open(lockdown, os.O_RDONLY)
		if err != nil {
			return err
		}
		held = append(held, f)
	}
	_, err := held[0].Read(make([]byte, 1))
	if err := wantErrno(syscall.EINVAL, err, "reading "+lockdown); err != nil {
		return err
	}
	for len(held) > 0 {
		if err := p.Refuses(ctx, syscall.EPERM, numvfs, "1"); err != nil {
			return err
		}
		if err := errors.Join(
			p.Refuses(ctx, syscall.ERANGE, numvfs, "{TOTAL+1}"), p.Refuses(ctx, 0, numvfs, "0"),
		); err != nil {
			return err
		}
		if err := held[0].Close(); err != nil {
			return err
		}
		held = held[1:]
	}
	return p.Refuses(ctx, 0, numvfs, "1")
}

// writeBehind writes to an operation file at an offset other than 0.
func writeBehind(f File) error {
	if _, err := f.Seek(1, io.SeekStart); err != nil {
		return err
	}
	_, err := f.Write([]byte("1"))
	return wantErrno(syscall.EINVAL, err, "writing at offset 1")
}
