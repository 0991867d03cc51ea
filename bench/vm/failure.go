package vm

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/bench/vm/guard"
)

// Reasons why a machine that ran cannot be used any more.
var (
	ErrOff      = errors.New("the machine is off") // it was ended by its user
	ErrShutdown = errors.New("the guest shut itself down")
	ErrReset    = errors.New("the guest reset itself")
	ErrPanic    = errors.New("the guest's kernel panicked")
)

// A diagnosis says why a machine has ended or did not start, and whose fault that is.
type diagnosis struct {
	life   *life
	spec   *Spec
	accel  string
	events *guestEvents
	logs   *logs
	exit   func() Exit // valid when QEMU has ended
}

// ofPanic quotes the panic with the lines around it.
func (d *diagnosis) ofPanic() error {
	err, output := ErrPanic, d.logs.tail("console.log", panicLines)
	if line := findPanic(output); line != "" {
		err = fmt.Errorf("%w: %s", err, line)
	}
	return d.life.guestError("run", fmt.Errorf("%w\n%s", err, output))
}

// ofBrokenGuest quotes QEMU about a guest that it cannot run any further (run state
// internal-error).
func (d *diagnosis) ofBrokenGuest() error {
	return &bench.InfraError{
		Op: d.life.String(), Err: fmt.Errorf("QEMU has stopped the guest: internal error, with %s", d.accel),
		Evidence: d.logs.tails(),
		Advice:   "the guest is probably not the cause: the messages in stderr.log are about KVM and this host",
	}
}

// ofEnd says how a QEMU that had been running ended.
func (d *diagnosis) ofEnd() error {
	reason, expected := d.events.ending()
	exit := d.exit()
	switch {
	case expected && (exit == Exit{} || exit.Signal == int(unix.SIGKILL)):
		return fmt.Errorf("%s: %w", d.life, ErrOff)
	case reason == "guest-shutdown" && exit == Exit{}:
		return d.life.guestError("run", d.logs.withConsole(ErrShutdown))
	case reason == "guest-reset" && exit == Exit{}:
		if findPanic(d.logs.tail("console.log", panicLines)) != "" {
			return d.ofPanic()
		}
		return d.life.guestError("run", d.logs.withConsole(ErrReset))
	}
	why := fmt.Sprintf("QEMU ended: %v", exit)
	if reason != "" {
		why += " (" + reason + ")"
	}
	return &bench.InfraError{Op: d.life.String(), Err: errors.New(why), Evidence: d.logs.tails()}
}

// vfioAdvice explains QEMU's words about a VF that it could not attach.
var vfioAdvice = []struct{ output, advice string }{
	{"no such host device", "there is no such PCI function: are the VFs enabled (sriov_numvfs)?"},
	{"failed to open /dev/vfio/", "the VF is not bound to a VFIO driver, or another QEMU still has it"},
	{"error getting device from group", "the VF is not bound to a VFIO driver, or another QEMU still has it"},
	{"no iommu_group found", "there is no IOMMU: is it on in the firmware and on the kernel's command line?"},
	{"is not viable", "its IOMMU group has functions that other drivers hold"},
	{
		"migration is not supported in kernel",
		"the VF's driver is plain vfio-pci, which cannot move the VF's state: bind the vendor VFIO driver",
	},
	{"Cannot allocate memory", "the memory of the guest cannot be pinned: see ulimit -l, and the free memory"},
}

var vfioRE = regexp.MustCompile(
	`-device vfio-pci,(?:host=|sysfsdev=/sys/bus/pci/devices/)([^,:]*:[^,:]*:[^,:]*)[^:]*: (.*)`,
)

// ofStart says why QEMU ended before it was up, from what it wrote.
func (d *diagnosis) ofStart() error {
	output := d.logs.tail("stderr.log", tailLines)
	if vf := vfioRE.FindStringSubmatch(output); vf != nil {
		err := &bench.HostError{Op: d.life.String() + ": attach VF", Noun: vf[1], Err: errors.New(vf[2])}
		for _, a := range vfioAdvice {
			if strings.Contains(vf[2], a.output) {
				err.Advice = a.advice
				break
			}
		}
		return err
	}
	if arg := d.blamed(output); arg != "" {
		return &bench.UsageError{Err: fmt.Errorf("%s: QEMU refuses %s: %s", d.life, arg, output)}
	}
	return &bench.InfraError{
		Op: d.life.String() + ": start QEMU", Err: errors.New(d.exit().String()), Advice: d.portAdvice(output),
		Evidence: output,
	}
}

// blamed returns the argument of the user's own that QEMU names as the bad one: "qemu: -device foo:
// ...".
func (d *diagnosis) blamed(output string) string {
	own := d.spec.Extra
	for _, device := range d.spec.Devices {
		own = append([]string{"-device", device}, own...)
	}
	for i, option := range own {
		if !strings.HasPrefix(option, "-") {
			continue
		}
		for _, arg := range []string{option, strings.Join(own[i:min(i+2, len(own))], " ")} {
			if strings.Contains(output, ": "+arg+": ") {
				return arg
			}
		}
	}
	return ""
}

// ofRefusal says why a QEMU ended instead of taking over a state, nil if QEMU has not ended. proc
// is that QEMU.
func (d *diagnosis) ofRefusal(ctx context.Context, proc *guard.Process) error {
	patience := time.Second
	if ctx.Err() != nil { // then it has not been QEMU that gave up
		patience = 0
	}
	if !proc.Gone(patience) {
		return nil
	}
	return &bench.InfraError{
		Op: d.life.String() + ": load a state", Err: errors.New(d.exit().String()),
		Evidence: d.logs.tail("stderr.log", tailLines),
	}
}

// portAdvice explains QEMU's words about ports that it could not have.
func (d *diagnosis) portAdvice(output string) string {
	switch {
	case strings.Contains(output, ": Failed to find an available port: "):
		first := vncBase + d.spec.VNC.Display
		return fmt.Sprintf("ports %d to %d are all in use: --vnc=off needs none", first, first+vncPorts)
	case strings.Contains(output, ": Could not set up host forwarding rule "):
		return fmt.Sprintf(
			"port %d of 127.0.0.1 is in use, or only root may use it: for SSH, port 0 takes a free one",
			d.spec.SSH.Port,
		)
	}
	return ""
}
