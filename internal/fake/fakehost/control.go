package fakehost

import (
	"strings"
	"syscall"
)

// control is the state of a VF on one GT, as in xe_gt_sriov_pf_control.c. It has no intermediate
// states: an operation ends before the write returns, unless [Hooks.Firmware] delays it.
type control struct {
	State string // "" (ready), "paused", "resumed", "stopped"
	// While paused: "", "saving", "saved", "restoring", "restored", "failed" (to restore).
	Data string
	Done bool // an operation has completed since the last reset
}

const (
	paused, resumed, stopped                       = "paused", "resumed", "stopped"
	saving, saved, restoring, restored, restFailed = "saving", "saved", "restoring", "restored", "failed"
)

// An operation is a pause, resume, stop, save or restore of a VF on one GT.
type operation func(ctl *controller, vf, gt int) error

// enter returns an operation that brings a VF to a state. allow returns an error if the current
// state does not permit it. After that, the firmware may refuse.
func enter(op, state string, allow func(control) error) operation {
	return func(ctl *controller, vf, gt int) error {
		c := &ctl.s.Functions[vf].GTs[gt].Control
		if err := allow(*c); err != nil {
			return err
		}
		if err := ctl.firmware(op, vf, gt); err != nil {
			return err
		}
		restored := state == resumed && c.Data == restored
		*c = control{State: state, Done: true}
		if restored && gt == len(ctl.s.GTs)-1 && ctl.s.Functions[vf].Driver == "xe" {
			ctl.s.Functions[vf].VF.Restored = true
			ctl.recover(vf)
		}
		return nil
	}
}

var (
	pauseVF = enter("pause", paused, func(c control) error {
		switch c.State {
		case stopped:
			return syscall.EPERM
		case paused:
			return syscall.ESTALE
		}
		return nil
	})
	resumeVF = enter("resume", resumed, func(c control) error {
		switch {
		case c.State != paused:
			return syscall.EPERM
		case c.Data == saving, c.Data == restoring:
			return syscall.EBUSY
		}
		return nil
	})
	stopVF = enter("stop", stopped, func(c control) error {
		if c.State == stopped {
			return syscall.ESTALE
		}
		return nil
	})
	words = map[string]operation{"pause": pauseVF, "resume": resumeVF, "stop": stopVF}
)

// A controller implements the operations of the PF's driver on VFs, and the VFs' own driver.
type controller struct {
	*core
	epoch int // counts the resets of VFs
}

// firmware calls the test's firmware, which may refuse an operation. It refuses VFs that are not
// enabled.
func (ctl *controller) firmware(op string, vf, gt int) error {
	if vf > ctl.s.NumVFs {
		return syscall.EIO
	}
	return ctl.fault(op, vf, gt)
}

func (ctl *controller) fault(op string, vf, gt int) error {
	if ctl.hooks.Firmware == nil {
		return nil
	}
	ctl.mu.Unlock()
	defer ctl.mu.Lock()
	return ctl.hooks.Firmware(op, vf, gt)
}

// everyGT does the steps on every GT, one after the other. As in xe_sriov_pf_control.c, after a
// failed step the error of every further step is EUCLEAN.
func (ctl *controller) everyGT(vf int, steps ...operation) error {
	var result error
	for _, step := range steps {
		for gt := range ctl.s.GTs {
			err := step(ctl, vf, gt)
			if result != nil {
				err = syscall.EUCLEAN
			}
			result = err
		}
	}
	ctl.woken() // a reader may wait for the data of a save
	return result
}

// firstOf does a step on the GTs up to the first error.
func (ctl *controller) firstOf(vf int, step operation) error {
	for gt := range ctl.s.GTs {
		if err := step(ctl, vf, gt); err != nil {
			return err
		}
	}
	return nil
}

// reset does a Function Level Reset of a VF, from the PF's side.
func (ctl *controller) reset(vf int) error {
	begin := func(ctl *controller, vf, gt int) error { return ctl.firmware("reset", vf, gt) }
	wait := func(ctl *controller, vf, gt int) error {
		g := &ctl.s.Functions[vf].GTs[gt]
		g.Control, g.Guest = control{}, ""
		return nil
	}
	err := ctl.everyGT(vf, begin, wait)
	ctl.forget(vf)
	f := &ctl.s.Functions[vf]
	f.Agreed, f.Register = false, 0
	if v := ctl.opened[vf]; v != nil {
		v.wasReset()
	}
	return err
}

// ready brings a VF to its initial state, as disabling does. Unlike for a reset, the firmware
// cannot refuse.
func (ctl *controller) ready(vf int) {
	for gt := range ctl.s.GTs {
		g := &ctl.s.Functions[vf].GTs[gt]
		g.Control, g.Guest = control{}, ""
	}
	ctl.s.Functions[vf].Agreed, ctl.s.Functions[vf].Register = false, 0
	ctl.withoutDriver(vf)
	ctl.forget(vf)
}

// withoutDriver clears the state of a VF's driver, and its files.
func (ctl *controller) withoutDriver(vf int) {
	ctl.s.Functions[vf].VF = vfState{}
	for gt := range ctl.s.GTs {
		ctl.s.Functions[vf].GTs[gt].Stoppers = 0
	}
}

// forget drops the stream of a VF's save. The kernel keeps a partial packet of a restore until the
// next save.
func (ctl *controller) forget(vf int) {
	ctl.s.Functions[vf].Out = nil
	ctl.epoch++
	ctl.woken()
}

// stopFile returns sriov_admin/vfM/stop.
func (ctl *controller) stopFile(vf int) node {
	return ctl.trigger(func() error { return ctl.everyGT(vf, stopVF) })
}

// trigger returns a file that calls do when a true value is written. A file that cannot be read has
// mode 0200.
func (ctl *controller) trigger(do func() error) node {
	return node{mode: 0o200, read: func() (string, error) { return "", nil }, write: func(text string) error {
		on, ok := kernelBool(text)
		if !ok {
			return syscall.EINVAL
		}
		if !on {
			return nil
		}
		return do()
	}}
}

// controlFile returns the control file of a VF on one GT. It accepts and ignores unknown words.
func (ctl *controller) controlFile(vf, gt int) node {
	read := func() (string, error) { return "stop\npause\nresume\n", nil }
	return node{mode: 0o600, read: read, write: func(text string) error {
		if len(text) > 31 {
			return syscall.EINVAL
		}
		do, ok := words[strings.TrimSuffix(text, "\n")]
		if !ok {
			return nil
		}
		err := do(ctl, vf, gt)
		ctl.woken()
		return err
	}}
}
