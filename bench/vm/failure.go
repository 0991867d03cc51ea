package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/bench/qmp"
)

// Reasons why a machine that ran cannot be used any more.
var (
	ErrOff      = errors.New("the machine is off") // it was ended by its user
	ErrShutdown = errors.New("the guest shut itself down")
	ErrReset    = errors.New("the guest reset itself")
	ErrPanic    = errors.New("the guest's kernel panicked")
)

// because says what err, which came of doing op, means: that the machine has ended, and why, or err itself.
func (m *VM) because(op string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, qmp.ErrClosed) { // the end of QEMU is known a moment after that of its sockets
		select {
		case <-m.life.Done():
		case <-time.After(15 * time.Second):
		}
	}
	if m.life.Err() != nil {
		return context.Cause(m.life)
	}
	return fmt.Errorf("%s: %s: %w", m, op, err)
}

// bind makes ctx end with the machine's life, too.
func (m *VM) bind(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(m.life, func() { cancel(context.Cause(m.life)) })
	return ctx, func() { stop(); cancel(nil) }
}

func (m *VM) guestError(op string, err error) error {
	return &bench.GuestError{Machine: m.spec.Name, Op: op, Err: err}
}

// withConsole adds what the guest said last.
func (m *VM) withConsole(err error) error {
	return fmt.Errorf("%w\n%s", err, m.tail("console.log", tailLines))
}

// panicError quotes the panic and what is around it.
func (m *VM) panicError() error {
	err, said := ErrPanic, m.tail("console.log", panicLines)
	if line := findPanic(said); line != "" {
		err = fmt.Errorf("%w: %s", err, line)
	}
	return m.guestError("run", fmt.Errorf("%w\n%s", err, said))
}

// brokenError quotes QEMU about a guest that it cannot run any further (run state internal-error).
func (m *VM) brokenError() error {
	return &bench.InfraError{
		Op: m.String(), Err: fmt.Errorf("QEMU has stopped the guest: internal error, with %s", m.accel.Name), Evidence: m.evidence(),
		Advice: "the guest itself is hardly to blame: what stderr.log says is about KVM and this host",
	}
}

// endError says how a QEMU that had been running ended.
func (m *VM) endError() error {
	m.guest.mu.Lock()
	reason, expected := m.guest.shutdown, m.guest.expected
	m.guest.mu.Unlock()
	exit := m.proc.Exit()
	switch {
	case expected && (exit == Exit{} || exit.Signal == int(unix.SIGKILL)):
		return fmt.Errorf("%s: %w", m, ErrOff)
	case reason == "guest-shutdown" && exit == Exit{}:
		return m.guestError("run", m.withConsole(ErrShutdown))
	case reason == "guest-reset" && exit == Exit{}:
		if findPanic(m.tail("console.log", panicLines)) != "" {
			return m.panicError()
		}
		return m.guestError("run", m.withConsole(ErrReset))
	}
	why := fmt.Sprintf("QEMU ended: %v", exit)
	if reason != "" {
		why += " (" + reason + ")"
	}
	return &bench.InfraError{Op: m.String(), Err: errors.New(why), Evidence: m.evidence()}
}

// vfioAdvice explains QEMU's words about a VF that it could not attach.
var vfioAdvice = []struct{ said, advice string }{
	{"no such host device", "there is no such PCI function: are the VFs enabled (sriov_numvfs)?"},
	{"failed to open /dev/vfio/", "it is not bound to a VFIO driver, or another QEMU still has it"},
	{"error getting device from group", "it is not bound to a VFIO driver, or another QEMU still has it"},
	{"no iommu_group found", "there is no IOMMU: is it on in the firmware and on the kernel's command line?"},
	{"is not viable", "its IOMMU group has functions that other drivers hold"},
	{"migration is not supported in kernel", "its driver is plain vfio-pci, which moves no state: bind the vendor VFIO driver"},
	{"Cannot allocate memory", "the memory of the guest cannot be pinned: see ulimit -l, and how much is free"},
}

var vfioRE = regexp.MustCompile(`-device vfio-pci,(?:host=|sysfsdev=/sys/bus/pci/devices/)([^,:]*:[^,:]*:[^,:]*)[^:]*: (.*)`)

// startFailure says why QEMU ended before it was up, from what it wrote.
func (m *VM) startFailure(exit Exit) error {
	said := m.tail("stderr.log", tailLines)
	if vf := vfioRE.FindStringSubmatch(said); vf != nil {
		err := &bench.HostError{Op: m.String() + ": attach VF", Noun: vf[1], Err: errors.New(vf[2])}
		for _, a := range vfioAdvice {
			if strings.Contains(vf[2], a.said) {
				err.Advice = a.advice
				break
			}
		}
		return err
	}
	if arg := m.blamed(said); arg != "" {
		return &bench.UsageError{Err: fmt.Errorf("%s: QEMU refuses %s: %s", m, arg, said)}
	}
	return &bench.InfraError{Op: m.String() + ": start QEMU", Err: errors.New(exit.String()), Advice: m.portAdvice(said), Evidence: said}
}

// blamed returns the argument of the user's own that QEMU names as the bad one: "qemu: -device foo: ...".
func (m *VM) blamed(said string) string {
	own := m.spec.Extra
	for _, d := range m.spec.Devices {
		own = append([]string{"-device", d}, own...)
	}
	for i, option := range own {
		if !strings.HasPrefix(option, "-") {
			continue
		}
		for _, arg := range []string{option, strings.Join(own[i:min(i+2, len(own))], " ")} {
			if strings.Contains(said, ": "+arg+": ") {
				return arg
			}
		}
	}
	return ""
}

// evidence is the tail of QEMU's own output and of the console, each under its name.
func (m *VM) evidence() string {
	return "stderr.log:\n" + m.tail("stderr.log", tailLines) + "\nconsole.log:\n" + m.tail("console.log", tailLines)
}

const (
	tailLines  = 20
	panicLines = 80 // the line that says why is before the registers and the stack
	tailBytes  = 16 << 10
)

// tail is the last lines of one of the machine's logs.
func (m *VM) tail(name string, lines int) string {
	if m.console != nil {
		m.console.flush()
	}
	f, err := os.Open(m.path(name))
	if err != nil {
		return fmt.Sprintf("(%v)", err)
	}
	defer f.Close()
	var data []byte
	info, err := f.Stat()
	if err == nil {
		data, err = io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-tailBytes), tailBytes))
	}
	if err != nil {
		return fmt.Sprintf("(%v)", err)
	}
	return strings.ReplaceAll(bench.Tail(data, lines), "\r", "")
}
