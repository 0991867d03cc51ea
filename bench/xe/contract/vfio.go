package contract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"syscall"

	"vmtb/bench/vfio"
)

var (
	opensVFIO = Need{"/dev/vfio", func(p *Probe) bool { _, ok := p.sys.(VFIOSystem); return ok && hasVFIO.check(p) }}
	plainVFIO = Need{"VFs that cannot be saved", func(p *Probe) bool { return !canSave.check(p) }}
)

// migrates are the needs of rules about migration; some also need a second VF.
var migrates = []Need{opensVFIO, canSave}

var vfioRules = []Rule{
	{
		ID: "vfio_flags",
		Doc: "A VF can be saved while it is stopped (STOP_COPY), and can be kept from other devices' memory (P2P); " +
			"it cannot be saved while it runs (no PRE_COPY). The size of its data is migration_size.",
		Needs: migrates, Check: withVFIO(1, checkVFIOFlags),
	},
	{
		ID: "vfio_plain", Doc: "If VFs cannot be saved, a VF is a VFIO device without migration: ENOTTY.",
		Needs: []Need{opensVFIO, plainVFIO}, Check: withVFIO(1, checkPlainVFIO),
	},
	{
		ID: "vfio_open", Doc: "Opening a VF resets it: it is RUNNING, and no longer paused.", Needs: migrates,
		Check: func(ctx context.Context, p *Probe) error {
			if err := errors.Join(p.smallVFs(ctx, 1), p.all(ctx, write(pauseVF1, "1"))); err != nil {
				return err
			}
			return p.openingVFIO(ctx, 1, checkIsReady)
		},
	},
	{
		ID: "vfio_states",
		Doc: "Each step is an operation of the PF: RUNNING_P2P pauses, RUNNING resumes, STOP_COPY saves, RESUMING " +
			"restores, and leaving these two ends the operation. STOP does nothing more than RUNNING_P2P.",
		Needs: migrates, Check: withVFIO(1, checkVFIOStates),
	},
	{
		ID: "vfio_path", Doc: "If the requested state is several steps away, the driver takes the steps one after " +
			"the other.",
		Needs: migrates, Check: withVFIO(1, checkVFIOPath),
	},
	{
		ID: "vfio_illegal",
		Doc: "States that do not exist, or that cannot be requested, are EINVAL. The state stays, but the driver " +
			"stops the VF, and only a reset ends that.", Needs: migrates,
		Check: withVFIO(1, checkVFIOIllegal),
	},
	{
		ID: "vfio_carries",
		Doc: "A VF's data include its registers for its driver: another VF that reads the data has the same " +
			"registers.",
		Needs: append(migrates, vfs(2)), Check: withVFIO(2, checkVFIOCarries),
	},
	{
		ID: "vfio_checked",
		Doc: "Data that are not packets are EINVAL; then the load fails (EIO, or ETIMEDOUT after 20 s), and the VF " +
			"stays in RESUMING until it is reset.", Needs: migrates,
		Check: withVFIO(1, checkVFIOChecked),
	},
	{
		ID:    "vfio_quotas_differ",
		Doc:   "A VF with another GGTT quota than the saved one, or with less VRAM, cannot load the saved data: EIO.",
		Needs: append(migrates, vfs(2)), Check: withVFIO(2, checkVFIOQuotasDiffer),
	},
	{
		ID: "vfio_flr",
		Doc: "A reset after a save, through VFIO or sysfs, ends the save: the VF is RUNNING and ready, its data are " +
			"deleted (ENODEV), and its registers are zero.", Needs: migrates, Check: withVFIO(1, checkVFIOReset),
	},
}

// withVFIO returns a check of n open VFs, all with the same few resources.
func withVFIO(n int, check func(ctx context.Context, p *Probe, vfs []VFIODevice) error) func(
	context.Context, *Probe,
) error {
	return func(ctx context.Context, p *Probe) error {
		if err := p.smallVFs(ctx, n); err != nil {
			return err
		}
		return p.openingVFIO(ctx, n, check)
	}
}

// openingVFIO opens VF1..n, passes them to check, and closes them. A VF that is open cannot be
// disabled.
func (p *Probe) openingVFIO(
	ctx context.Context, n int, check func(ctx context.Context, p *Probe, vfs []VFIODevice) error,
) (err error) {
	var list []VFIODevice
	defer func() {
		for _, d := range list {
			err = errors.Join(err, d.Close())
		}
	}()
	for vf := 1; vf <= n; vf++ {
		d, err := p.openVFIO(ctx, vf)
		if err != nil {
			return err
		}
		list = append(list, d)
	}
	return check(ctx, p, list)
}

func (p *Probe) openVFIO(ctx context.Context, n int) (VFIODevice, error) {
	dir := fmt.Sprintf("V%d/", n)
	if err := p.all(
		ctx, write(dir+"driver_override", vfioDriver), write(probeDriver, fmt.Sprintf("{VF%d}", n)),
	); err != nil {
		return nil, err
	}
	vf, err := p.vf(n)
	if err != nil {
		return nil, err
	}
	link, err := p.sys.Readlink(vf.Dir() + "/iommu_group")
	if err != nil {
		return nil, err
	}
	group, err := strconv.Atoi(path.Base(link))
	if err != nil {
		return nil, fmt.Errorf("iommu_group links to %q, want a number at the end", link)
	}
	return p.sys.(VFIOSystem).OpenVFIO(group, string(vf)) // the rules have the need opensVFIO
}

func inState(d VFIODevice, want vfio.State) error {
	got, err := d.State()
	if err != nil || got != want {
		return differs(err, "the VF is in %v, want %v", got, want)
	}
	return nil
}

// goTo changes to states without data, one after the other.
func goTo(d VFIODevice, states ...vfio.State) error {
	for _, s := range states {
		data, err := d.SetState(s)
		switch {
		case err != nil:
			return err
		case data != nil:
			return errors.Join(fmt.Errorf("%v comes with data", s), data.Close())
		}
		if err := inState(d, s); err != nil {
			return err
		}
	}
	return nil
}

// refuses returns nil if changing to the state fails with errno.
func refuses(errno syscall.Errno, d VFIODevice, s vfio.State) error {
	data, err := d.SetState(s)
	if data != nil {
		err = errors.Join(err, data.Close())
	}
	return wantErrno(errno, err, "going to "+s.String())
}

// withData changes to StopCopy or Resuming, and passes the data to use.
func withData(d VFIODevice, s vfio.State, use func(io.ReadWriter) error) (err error) {
	data, err := d.SetState(s)
	if err != nil || data == nil {
		return differs(err, "%v comes without data", s)
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	if err := inState(d, s); err != nil {
		return err
	}
	return use(data)
}

// saveVFIO changes to StopCopy and reads the data, again if the driver has written the trailer too early.
func saveVFIO(d VFIODevice) ([]byte, error) {
	return saveWhole(func() (stream []byte, err error) {
		if inState(d, vfio.StopCopy) == nil { // of the save before
			if err := goTo(d, vfio.Stop); err != nil {
				return nil, err
			}
		}
		err = withData(d, vfio.StopCopy, func(data io.ReadWriter) error {
			stream, err = io.ReadAll(data)
			return err
		})
		return stream, err
	})
}

// loadVFIO changes to Resuming and writes the data, then to Stop, which ends the load.
func loadVFIO(d VFIODevice, stream []byte) error {
	err := withData(d, vfio.Resuming, func(data io.ReadWriter) error { _, err := data.Write(stream); return err })
	if err != nil {
		return err
	}
	return goTo(d, vfio.Stop)
}

func checkVFIOFlags(_ context.Context, p *Probe, vfs []VFIODevice) error {
	const want = vfio.HasStopCopy | vfio.HasP2P
	flags, err := vfs[0].MigrationFlags()
	if err != nil || flags != want {
		return differs(err, "migration flags %#x, want %#x", flags, want)
	}
	size, err := vfs[0].DataSize()
	if err != nil {
		return err
	}
	return errors.Join(inState(vfs[0], vfio.Running), p.Reads(size1, fmt.Sprintln(size)))
}

func checkPlainVFIO(_ context.Context, _ *Probe, vfs []VFIODevice) error {
	_, flags := vfs[0].MigrationFlags()
	_, state := vfs[0].State()
	return errors.Join(
		wantErrno(syscall.ENOTTY, flags, "the migration flags"),
		wantErrno(syscall.ENOTTY, state, "the migration state"), vfs[0].Reset(),
	)
}

// checkIsReady returns nil if VF1 is RUNNING and not paused. It pauses and resumes VF1 to find out.
func checkIsReady(ctx context.Context, p *Probe, vfs []VFIODevice) error {
	return errors.Join(
		inState(vfs[0], vfio.Running), p.all(ctx, write(pauseVF1, "1"), write("D/sriov/vf1/resume", "1")),
	)
}

func checkVFIOStates(ctx context.Context, p *Probe, vfs []VFIODevice) error {
	d := vfs[0]
	paused := refuse(syscall.ESTALE, "G/vf1/control", "pause")
	for _, s := range []vfio.State{vfio.RunningP2P, vfio.Stop} {
		if err := errors.Join(goTo(d, s), p.all(ctx, paused)); err != nil {
			return err
		}
	}
	var stream []byte
	err := withData(d, vfio.StopCopy, func(data io.ReadWriter) (err error) {
		if err = p.all(ctx, refuse(syscall.EALREADY, save1, "1")); err != nil {
			return err
		}
		stream, err = io.ReadAll(data)
		return errors.Join(err, p.checkPackets(stream))
	})
	if err := errors.Join(err, goTo(d, vfio.Stop), p.all(ctx, unreadable(syscall.EIO, save1), paused)); err != nil {
		return err
	}
	err = withData(d, vfio.Resuming, func(data io.ReadWriter) error {
		if err := p.all(ctx, refuse(syscall.EALREADY, restore1, "1")); err != nil {
			return err
		}
		_, err := data.Write(stream)
		return err
	})
	if err := errors.Join(
		err, goTo(d, vfio.Stop), p.all(ctx, paused), goTo(d, vfio.RunningP2P), p.all(ctx, paused),
	); err != nil {
		return err
	}
	return errors.Join(goTo(d, vfio.Running), p.all(ctx, refuse(syscall.EPERM, "G/vf1/control", "resume")))
}

func checkVFIOPath(ctx context.Context, p *Probe, vfs []VFIODevice) error {
	d := vfs[0]
	stream, err := saveVFIO(d)
	if err != nil {
		return err
	}
	if err := errors.Join(p.checkPackets(stream), goTo(d, vfio.Running), checkIsReady(ctx, p, vfs)); err != nil {
		return err
	}
	err = withData(d, vfio.Resuming, func(data io.ReadWriter) error { _, err := data.Write(stream); return err })
	return errors.Join(err, goTo(d, vfio.Running), checkIsReady(ctx, p, vfs))
}

func checkVFIOIllegal(ctx context.Context, p *Probe, vfs []VFIODevice) error {
	for _, s := range []vfio.State{vfio.Error, vfio.PreCopy, vfio.PreCopy + 1, 99} {
		if err := refuses(syscall.EINVAL, vfs[0], s); err != nil {
			return err
		}
	}
	if err := inState(vfs[0], vfio.Running); err != nil {
		return err
	}
	if err := p.all(ctx, refuse(syscall.EPERM, "G/vf1/control", "pause")); err != nil {
		return err
	}
	return errors.Join(vfs[0].Reset(), checkIsReady(ctx, p, vfs))
}

// register is the offset of VF_SW_FLAG, a register that only the VF's driver uses. An FLR clears it
// (IGT's xe_sriov_flr).
const register = 0x190240

func checkVFIOCarries(_ context.Context, p *Probe, vfs []VFIODevice) error {
	const value = 0x5ca1ab1e
	if err := vfs[0].SetRegister(register, value); err != nil {
		return err
	}
	stream, err := saveVFIO(vfs[0])
	if err != nil {
		return err
	}
	if err := loadVFIO(vfs[1], stream); err != nil {
		return err
	}
	got, err := vfs[1].Register(register)
	if err != nil || got != value {
		return differs(err, "the register of VF2 is %#x, want VF1's %#x", got, value)
	}
	return errors.Join(goTo(vfs[1], vfio.Running), goTo(vfs[0], vfio.Stop, vfio.Running))
}

// failsToLoad returns nil if a load has failed so that only a reset helps: the VF is still in
// RESUMING.
func failsToLoad(load error, d VFIODevice, errno syscall.Errno) error {
	if err := wantErrno(errno, load, "loading"); err != nil {
		return err
	}
	if inState(d, vfio.Resuming) == nil { // the write was refused, and the load has not ended
		if err := refuses(syscall.EIO, d, vfio.Stop); err != nil && !errors.Is(err, syscall.ETIMEDOUT) {
			return err
		}
	}
	return errors.Join(inState(d, vfio.Resuming), d.Reset(), inState(d, vfio.Running))
}

func checkVFIOChecked(ctx context.Context, p *Probe, vfs []VFIODevice) error {
	// A packet without type; kernels crash on a packet of another version (stream_version).
	junk := make([]byte, headerSize)
	junk[0] = 1
	if err := failsToLoad(loadVFIO(vfs[0], junk), vfs[0], syscall.EINVAL); err != nil {
		return err
	}
	return checkIsReady(ctx, p, vfs)
}

func checkVFIOQuotasDiffer(ctx context.Context, p *Probe, vfs []VFIODevice) error {
	stream, err := saveVFIO(vfs[0])
	if err != nil {
		return err
	}
	// GuC compares contexts and doorbells; the driver (7.3) does not.
	others := []Step{write("T/vf2/ggtt_quota", strconv.FormatUint(p.otherGGTT(), 10))}
	if p.vram {
		others = append(others, write("T/vf2/vram_quota", "16777216"))
	}
	for _, other := range others {
		if err := p.all(ctx, other); err != nil {
			return err
		}
		if err := failsToLoad(loadVFIO(vfs[1], stream), vfs[1], syscall.EIO); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(other.files, ", "), err)
		}
		if err := p.giveSmall(ctx, 2); err != nil {
			return err
		}
	}
	return errors.Join(loadVFIO(vfs[1], stream), goTo(vfs[1], vfio.Running))
}

func checkVFIOReset(ctx context.Context, p *Probe, vfs []VFIODevice) error {
	d := vfs[0]
	for _, reset := range []func() error{d.Reset, func() error { return p.all(ctx, write(resetVF1, "1")) }} {
		if err := d.SetRegister(register, 1); err != nil {
			return err
		}
		err := withData(d, vfio.StopCopy, func(data io.ReadWriter) error {
			// Wait for the end of the save, or the reset may be lost: see resetAndPaused.
			if _, err := io.Copy(io.Discard, data); err != nil {
				return err
			}
			if err := reset(); err != nil {
				return err
			}
			_, err := data.Read(make([]byte, 1))
			return wantErrno(syscall.ENODEV, err, "reading the data from before the reset")
		})
		if err != nil {
			return err
		}
		if err := checkIsReady(ctx, p, vfs); err != nil {
			return err
		}
		if got, err := d.Register(register); err != nil || got != 0 {
			return differs(err, "after the reset the register is %#x", got)
		}
	}
	return nil
}
