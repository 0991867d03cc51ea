package vm

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"vmtb/bench"
	"vmtb/internal/prose"
)

// Accel is how guests run here: "kvm", or "tcg" (emulation) and the reason why not KVM.
type Accel struct {
	Name   string
	Reason string // "" with KVM
}

var probes struct {
	sync.Mutex
	results map[string]Accel
}

// ProbeAccel tells whether guests of the QEMU program qemu run with KVM, by running one: /dev/kvm
// may exist, open and still not run a guest, as in a virtual machine without nested virtualization.
// The answer is kept for the life of the process. The error is for a QEMU that cannot be run at
// all.
func ProbeAccel(ctx context.Context, qemu string) (Accel, error) {
	program, err := lookQEMU(qemu)
	if err != nil {
		return Accel{}, err
	}
	probes.Lock()
	defer probes.Unlock()
	if a, ok := probes.results[program]; ok {
		return a, nil
	}
	a := Accel{Name: "kvm"}
	if err := probe(ctx, program, "kvm", "host"); err != nil {
		if ctx.Err() != nil {
			return Accel{}, context.Cause(ctx)
		}
		reason, _, _ := strings.Cut(err.Error(), "\n")
		a = Accel{Name: "tcg", Reason: reason}
	}
	if probes.results == nil {
		probes.results = map[string]Accel{}
	}
	probes.results[program] = a
	return a, nil
}

func lookQEMU(qemu string) (string, error) {
	program, err := exec.LookPath(qemu)
	if err != nil {
		return "", &bench.InfraError{
			Op: "find QEMU", Err: err, Advice: "install qemu-system-x86 and qemu-utils, version 8.2 or newer",
		}
	}
	return program, nil
}

// probeExit is QEMU's exit code when the probe guest ran: isa-debug-exit ends QEMU with twice the
// byte written, plus 1.
const (
	probeByte = 42
	probeExit = 2*probeByte + 1
	probeTime = 30 * time.Second
)

// probeGuest is probe/probe.S.
//
//go:embed probe/probe.bin
var probeGuest []byte

// probeROM is a BIOS of 64 KiB with the probe guest at its start. The CPU starts 16 bytes before
// its end, and finds a jump there.
func probeROM() []byte {
	rom := make([]byte, 64<<10)
	copy(rom, probeGuest)
	copy(rom[len(rom)-16:], []byte{0xe9, 0x0d, 0x00}) // jmp to 0 of the segment, from 0xfff3
	return rom
}

// probe runs the probe guest; nil is a guest that ran.
func probe(ctx context.Context, program, accel, cpu string) error {
	dir, err := os.MkdirTemp("", "vmtb-probe-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	rom := filepath.Join(dir, "rom")
	if err := os.WriteFile(rom, probeROM(), 0o600); err != nil {
		return err
	}
	late := fmt.Errorf("the probe guest did not end within %s", prose.Exact(probeTime))
	ctx, cancel := context.WithTimeoutCause(ctx, probeTime, late)
	defer cancel()
	ctx, broken := context.WithCancelCause(ctx)
	defer broken(nil)
	// After that QEMU would stand still for ever.
	hear := func(text string) {
		if strings.Contains(text, "internal error") {
			line, _, _ := strings.Cut(text, "\n")
			broken(errors.New(line))
		}
	}
	_, err = runHearing(ctx, hear, program, "-machine", "q35", "-accel", accel, "-cpu", cpu, "-m", "16M", "-bios", rom,
		"-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-nodefaults", "-no-user-config", "-display", "none",
		"-no-reboot")
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.ExitCode() == probeExit {
		return nil
	}
	if err == nil {
		return errors.New("the probe guest ended without running")
	}
	return err
}

// qemuImg runs qemu-img and returns its standard output. An error quotes what it said. The
// thread stays locked while the program runs: its parent-death signal goes by the thread.
func qemuImg(ctx context.Context, args ...string) ([]byte, error) {
	return runHearing(ctx, func(string) {}, "qemu-img", args...)
}

// words is what a program says on its standard error. heard gets all of it so far, each time that
// there is more.
type words struct {
	strings.Builder
	heard func(text string)
}

func (w *words) Write(b []byte) (int, error) {
	n, err := w.Builder.Write(b)
	w.heard(w.String())
	return n, err
}

// runHearing is run, and tells hear what the program says on its standard error.
func runHearing(ctx context.Context, hear func(text string), program string, args ...string) ([]byte, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	stderr := words{heard: hear}
	cmd.Stderr = &stderr
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	switch {
	case err == nil:
		return out, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", filepath.Base(program), context.Cause(ctx))
	case errors.Is(err, exec.ErrNotFound):
		return nil, &bench.InfraError{Op: "run " + program, Err: err, Advice: "install qemu-utils"}
	}
	if output := bench.Tail([]byte(stderr.String()), 3); output != "" {
		return nil, &outputError{output: output, err: err}
	}
	return nil, fmt.Errorf("%s: %w", filepath.Base(program), err)
}

// An outputError is a program's own words about its failure.
type outputError struct {
	output string
	err    error
}

func (e *outputError) Error() string { return e.output }
func (e *outputError) Unwrap() error { return e.err }
