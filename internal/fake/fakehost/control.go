package fakehost

import (
	"fmt"
	"strings"
	"syscall"
)

// control is the state of a VF on one GT, as xe_gt_sriov_pf_control.c keeps it. The states that it passes through on
// its way are not there: an operation ends before the write returns, unless [Host.Firmware] holds it up.
type control struct {
	State string // "" (ready), "paused", "resumed", "stopped"
	Data  string // while paused: "", "saving", "saved", "restoring", "restored", "failed" (to restore)
	Done  bool   // an operation has completed since the last reset
}

const (
	paused, resumed, stopped                       = "paused", "resumed", "stopped"
	saving, saved, restoring, restored, restFailed = "saving", "saved", "restoring", "restored", "failed"
)

// operation is one of pause, resume, stop, save, restore on one GT.
type operation func(h *Host, vf, gt int) error

// enter is an operation that the state allows: the firmware is asked, and the VF enters a new state.
func enter(op, state string, allow func(control) error) operation {
	return func(h *Host, vf, gt int) error {
		c := &h.s.Functions[vf].GTs[gt].Control
		if err := allow(*c); err != nil {
			return err
		}
		if err := h.firmware(op, vf, gt); err != nil {
			return err
		}
		restored := state == resumed && c.Data == restored
		*c = control{State: state, Done: true}
		if restored && gt == len(h.s.GTs)-1 && h.s.Functions[vf].Driver == "xe" {
			h.s.Functions[vf].VF.Restored = true
			h.recover(vf)
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

// firmware asks whatever stands for the GPU's firmware. It refuses VFs that are not enabled.
func (h *Host) firmware(op string, vf, gt int) error {
	if vf > h.s.NumVFs {
		return syscall.EIO
	}
	return h.fault(op, vf, gt)
}

func (h *Host) fault(op string, vf, gt int) error {
	if h.Firmware == nil {
		return nil
	}
	h.mu.Unlock()
	defer h.mu.Lock()
	return h.Firmware(op, vf, gt)
}

// everyGT makes the steps on every GT, one after the other. As in xe_sriov_pf_control.c, a step after one that failed
// turns the error into EUCLEAN, whatever it gives itself.
func (h *Host) everyGT(vf int, steps ...operation) error {
	var result error
	for _, step := range steps {
		for gt := range h.s.GTs {
			err := step(h, vf, gt)
			if result != nil {
				err = syscall.EUCLEAN
			}
			result = err
		}
	}
	h.woken() // whoever waits for data of a save
	return result
}

// firstOf makes a step on the GTs up to the first error.
func (h *Host) firstOf(vf int, step operation) error {
	for gt := range h.s.GTs {
		if err := step(h, vf, gt); err != nil {
			return err
		}
	}
	return nil
}

// reset is a Function Level Reset of a VF, as the PF sees it.
func (h *Host) reset(vf int) error {
	begin := func(h *Host, vf, gt int) error { return h.firmware("reset", vf, gt) }
	wait := func(h *Host, vf, gt int) error {
		g := &h.s.Functions[vf].GTs[gt]
		g.Control, g.Guest = control{}, ""
		return nil
	}
	err := h.everyGT(vf, begin, wait)
	h.forget(vf)
	f := &h.s.Functions[vf]
	f.Agreed, f.Register = false, 0
	if v := h.opened[vf]; v != nil {
		v.wasReset()
	}
	if f.Driver == "xe" && !h.recent() { // the driver has no handlers of resets
		_ = h.connect(vf) // a driver without resources can only wait for the next reset
	}
	return err
}

// ready is what disabling does to a VF: as a reset, and the firmware has no say.
func (h *Host) ready(vf int) {
	for gt := range h.s.GTs {
		g := &h.s.Functions[vf].GTs[gt]
		g.Control, g.Guest = control{}, ""
	}
	h.s.Functions[vf].Agreed, h.s.Functions[vf].Register = false, 0
	h.withoutDriver(vf)
	h.forget(vf)
}

// withoutDriver drops what a driver of a VF knew, and its files' contents.
func (h *Host) withoutDriver(vf int) {
	h.s.Functions[vf].VF = vfState{}
	for gt := range h.s.GTs {
		h.s.Functions[vf].GTs[gt].Stoppers = 0
	}
}

// forget drops the stream of a save or restore that a VF was in.
func (h *Host) forget(vf int) {
	h.s.Functions[vf].Out = nil
	if h.o.StandIn {
		h.s.Functions[vf].In = nil // the kernel keeps a part of a packet until the next save
	}
	h.epoch++
	h.woken()
}

func (h *Host) woken() { h.freed.Broadcast() }

// controlFiles places the files that control VFs: for all GTs at once since Linux 6.19, and one for each GT.
func (h *Host) controlFiles(b builder, root string) {
	for vf := 1; vf < len(h.s.Functions); vf++ {
		dir := fmt.Sprintf("%s/sriov/vf%d", root, vf)
		for gt := range h.s.GTs {
			gtDir := fmt.Sprintf("%s/tile0/gt%d", dir, gt)
			if h.o.Flat {
				gtDir = fmt.Sprintf("%s/gt%d/vf%d", root, gt, vf)
			}
			b.add(gtDir+"/control", h.controlFile(vf, gt))
		}
		if h.o.Flat {
			continue
		}
		b.add(dir+"/pause", h.trigger(func() error { return h.everyGT(vf, pauseVF) }))
		b.add(dir+"/resume", h.trigger(func() error { return h.everyGT(vf, resumeVF) }))
		b.add(dir+"/stop", h.trigger(func() error { return h.everyGT(vf, stopVF) }))
		b.add(dir+"/reset", h.trigger(func() error { return h.reset(vf) }))
		h.migrationFiles(b, dir, vf)
	}
}

// stopFile is sriov_admin/vfM/stop.
func (h *Host) stopFile(vf int) node {
	return h.trigger(func() error { return h.everyGT(vf, stopVF) })
}

// trigger is a file to which a true value is written to have something done. One that cannot be read is 0200.
func (h *Host) trigger(do func() error) node {
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

// controlFile is the control file of a VF on one GT. It takes words that it does not know, and does nothing then.
func (h *Host) controlFile(vf, gt int) node {
	return node{mode: 0o600, read: func() (string, error) { return "stop\npause\nresume\n", nil }, write: func(text string) error {
		if len(text) > 31 {
			return syscall.EINVAL
		}
		do, ok := words[strings.TrimSuffix(text, "\n")]
		if !ok {
			return nil
		}
		err := do(h, vf, gt)
		h.woken()
		return err
	}}
}

// writeReset is reset_store of drivers/pci/pci-sysfs.c, where the reset is an FLR. The PF's own does not touch its VFs.
func (h *Host) writeReset(fn int, text string) error {
	v, err := parseUint(text, 64)
	if err != nil || v != 1 {
		return syscall.EINVAL
	}
	if fn == 0 || !h.pfBound() {
		return nil
	}
	_ = h.reset(fn) // the device is reset all the same: the PF's trouble is for the kernel log
	return nil
}
