package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"vmtb/bench"
	"vmtb/bench/vm"
	"vmtb/internal/filecopy"
	"vmtb/internal/progress"
)

// ShareTag is the 9p tag of [Options.Share] in the DUT. The DUT mounts it at the same path as on
// this machine, so that a path in a report is valid on both.
const ShareTag = "vmtb"

// Options says how to start a DUT.
type Options struct {
	Images        Images
	Dir           string   // folder for evidence about the DUT: console, transcripts, command line
	Share         string   // directory of this machine to which the DUT may write
	GPUProperties []string // NAME=VALUE, of the emulated GPU: lab/gpu/README.md lists them
	Cmdline       []string // additional parameters of the DUT's kernel, "xe.force_probe=b080"
	Program       string   // the vmtb that [DUT.Vmtb] runs; "" is this program
	Progress      *progress.Progress

	MayReboot bool // a reset reboots it; otherwise the DUT ends if its kernel dies
	Boot      bool // boot even if a saved state could be used
}

// A DUT is a running emulated machine under test.
type DUT struct {
	*vm.VM
	share, program string
}

// Start starts a DUT, and tries a second time if that fails. After a second failure the error is a
// [bench.InfraError] with the end of the console.
func Start(ctx context.Context, o Options) (d *DUT, err error) {
	defer runtime.KeepAlive(o.Images) // until QEMU has opened its files
	dir := o.Dir
	err = o.Twice(ctx, func(o Options) (err error) {
		d, err = start(ctx, o, dir)
		dir = o.Dir + "-2"
		return err
	})
	if err != nil && ctx.Err() == nil && !isUsage(err) {
		err = infra("boot the DUT", err)
	}
	return d, err
}

// Twice calls start with these options. If the DUT does not come up, it prints that and calls start
// again, with a boot instead of a saved state. No part of a flow has run by then.
func (o Options) Twice(ctx context.Context, start func(Options) error) error {
	err := start(o)
	if err == nil || ctx.Err() != nil || isUsage(err) {
		return err
	}
	o.Progress.Printf("the DUT did not boot, so it is booted again: %v", err)
	o.Boot = true
	return start(o)
}

func isUsage(err error) bool {
	_, is := errors.AsType[*bench.UsageError](err)
	return is
}

// infra turns an error of the DUT into a [bench.InfraError]: no flow caused it.
func infra(op string, err error) error {
	return &bench.InfraError{Op: "lab: " + op, Err: err, Advice: "this is not a fault of the driver under test"}
}

func start(ctx context.Context, o Options, dir string) (d *DUT, err error) {
	spec, started, err := o.Spec(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { started(err) }()
	err = o.Progress.Step(Starting(spec), func(io.Writer) error {
		m, err := boot(ctx, spec, dir)
		if err != nil {
			return err
		}
		d = o.dut(m)
		if err := d.wake(ctx); err != nil {
			return errors.Join(err, d.Close(context.WithoutCancel(ctx)))
		}
		return nil
	})
	return d, err
}

// dut returns the DUT for a machine that was started with these options.
func (o Options) dut(m *vm.VM) *DUT {
	return &DUT{VM: m, share: o.Share, program: cmp.Or(o.Program, "/proc/self/exe")}
}

// boot starts a machine, and waits until its agent answers.
func boot(ctx context.Context, s vm.Spec, dir string) (*vm.VM, error) {
	speed, err := MeasuredSpeed()
	if err != nil {
		return nil, err
	}
	m, err := vm.Start(ctx, s, vm.Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	if err := m.WaitReadyWithin(ctx, speed.BootLimit()); err != nil {
		return nil, errors.Join(err, m.Close(context.WithoutCancel(ctx)))
	}
	return m, nil
}

// hardware returns the DUT's hardware. Crashes were the reasons for its unusual settings: see
// docs/lab.md.
func (o Options) hardware(ctx context.Context) (vm.Spec, error) {
	gpu, extra := o.Images.GPU.hardware(o.GPUProperties)
	s := vm.Spec{
		Name: "dut", QEMU: o.Images.QEMU, Machine: "q35,kernel-irqchip=split",
		// Nested SVM under emulation corrupts the stack of a kernel with more than one CPU.
		Accel: "tcg,thread=single", CPU: "EPYC,+svm", CPUs: 1,
		MemoryMiB: 2800, // for 7 guests of GuestMiB
		Disks:     []vm.Disk{{Image: o.Images.DUT, Format: "raw", Bus: "virtio"}},
		Kernel: &vm.Kernel{
			Image: o.Images.DUTKernel, Initrd: o.Images.DUTInitrd,
			Cmdline: "console=ttyS0 intel_iommu=on iommu=pt panic=-1 no_timer_check" +
				" cryptomgr.notests mitigations=off nowatchdog rcupdate.rcu_cpu_stall_suppress=1 kvm.halt_poll_ns=0" +
				o.addedCmdline(),
		},
		Shares:   []vm.Share{{Tag: ShareTag, Path: o.Share, Writable: true}},
		Serials:  1, // a shell, for "vmtb lab shell"
		NoReboot: !o.MayReboot,
		Devices:  []string{"intel-iommu,intremap=on,caching-mode=on", gpu},
		Extra: append(
			extra, "-smbios", "type=1,manufacturer=vmtb,product="+strings.ReplaceAll(o.Images.GPU.product(), ",", ",,"),
		),
	}
	accel, err := vm.ProbeAccel(ctx, o.Images.QEMU)
	if err == nil && accel.Name == "kvm" && nestedKVM() {
		s.Accel, s.CPU, s.CPUs = "kvm", "host", 2
	} else {
		s.Extra = append(s.Extra, "-icount", virtualTime)
	}
	return s, err
}

// virtualTime ties the DUT's clock to its CPU's progress: 2^0 ns for an instruction, and real time
// while it idles. With this machine's clock, the timers of the DUT and its guests would fire
// however little each has done in between. On a loaded machine they would do nothing else. Only a
// QEMU with the fixes of lab/gpu runs guests with this setting (nested.c).
const virtualTime = "shift=0,sleep=on"

// addedCmdline returns the part of the kernel command line that the user gave. modprobe passes the
// parameters of modules to them.
func (o Options) addedCmdline() string {
	var b strings.Builder
	for _, p := range o.Cmdline {
		b.WriteString(" " + p)
	}
	return b.String()
}

// nestedKVM reports whether this machine's KVM offers KVM to guests.
func nestedKVM() bool {
	for _, module := range []string{"kvm_intel", "kvm_amd"} {
		on, err := os.ReadFile("/sys/module/" + module + "/parameters/nested")
		if err == nil && strings.ContainsAny(string(on[:1]), "Y1") {
			return true
		}
	}
	return false
}

// wake prepares a DUT after its start or boot, and sets its clock. The clock of an emulated DUT
// stops while this machine has no time for it.
func (d *DUT) wake(ctx context.Context) error {
	const setClock = `date -s "@$2" >/dev/null`
	return d.run(ctx, wakeScript+setClock, d.share, strconv.FormatInt(time.Now().Unix(), 10))
}

// wakeScript prepares a DUT after its start and after each boot, before anything else. It mounts
// the share $1 at the path that it has on this machine.
const wakeScript = `
mkdir -p "$1"
grep -q " $1 9p " /proc/mounts ||
	mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=none ` + ShareTag + ` "$1"
`

// run runs a shell script in the DUT. It fails unless the script exits with 0.
func (d *DUT) run(ctx context.Context, script string, args ...string) error {
	c := bench.Command{Argv: append([]string{"/bin/sh", "-ec", script, "sh"}, args...)}
	r, err := d.Exec(ctx, c)
	if err == nil && !r.OK() {
		// Without the script, which the reader of the error does not know.
		err = errors.New(bench.Tail(r.Stderr, 3))
	}
	return err
}

// Vmtb runs vmtb with args inside the DUT, and returns its exit code. Its output goes to out as it
// arrives. When ctx ends, vmtb gets a SIGTERM, and stopDeadline to restore the DUT.
func (d *DUT) Vmtb(ctx context.Context, args []string, out io.Writer) (code int, err error) {
	bin, output := filepath.Join(d.share, "vmtb-run"), filepath.Join(d.share, "output.log")
	if err := filecopy.Copy(bin, d.program, 0o755); err != nil {
		return 0, infra("give vmtb to the DUT", err)
	}
	defer os.Remove(bin)
	tail, err := follow(output, out)
	if err != nil {
		return 0, infra("follow the DUT's output", err)
	}
	// A copy of the program, because guards of an earlier one may still run.
	const line = `out=$1 bin=$2; shift 2; own=/run/vmtb-bin-$$; rm -f /run/vmtb-bin-*; cp "$bin" $own; ` +
		`cd /root; echo $$ >/run/vmtb-bin.pid; exec $own "$@" >"$out" 2>&1`
	c := bench.Command{Argv: append([]string{"/bin/sh", "-ec", line, "sh", output, bin}, args...)}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	// The end of Exec's own context would also signal vmtb's machines.
	defer context.AfterFunc(ctx, func() {
		time.AfterFunc(stopDeadline, cancel)
		// The other Exec shows a failure.
		_, _ = d.Exec(running, bench.Shell("kill -TERM $(cat /run/vmtb-bin.pid)"))
	})()
	r, err := d.Exec(running, c)
	err = errors.Join(err, tail.stop())
	switch {
	case err != nil:
		return 0, infra("run vmtb in the DUT", err)
	case r.Signal != 0:
		return 0, infra("run vmtb in the DUT", fmt.Errorf("vmtb was killed by signal %d", r.Signal))
	case len(r.Stderr) > 0: // only the shell writes to stderr; vmtb writes elsewhere
		return 0, infra("run vmtb in the DUT", errors.New(bench.Tail(r.Stderr, 3)))
	}
	return r.ExitCode, nil
}

const stopDeadline = 5 * time.Minute

// Leftovers returns the changes that runs have left on the DUT, one line for each difference from
// its state after boot.
func (d *DUT) Leftovers(ctx context.Context) ([]string, error) {
	const script = `
for pf in /sys/bus/pci/drivers/xe/*:*; do
	[ -e "$pf/sriov_numvfs" ] || continue
	[ "$(cat "$pf/sriov_numvfs")" = 0 ] || echo "${pf##*/}: sriov_numvfs is $(cat "$pf/sriov_numvfs")"
	[ "$(cat "$pf/sriov_drivers_autoprobe")" = 1 ] ||
		echo "${pf##*/}: sriov_drivers_autoprobe is $(cat "$pf/sriov_drivers_autoprobe")"
	for file in "$pf"/sriov_admin/pf/profile/*; do
		[ -e "$file" ] || continue
		case $(cat "$file") in
		0 | '[low]'*) ;;
		*) echo "${pf##*/}: ${file##*/} of the PF is $(cat "$file")" ;;
		esac
	done
done
ls -d /sys/bus/pci/drivers/xe/*:* >/dev/null || echo "no PF is bound to xe"
pgrep -l qemu-system | sed 's/^/process /'
pgrep -l vmtb-bin | sed 's/^/process /'
for left in /run/vmtb/* /var/tmp/vmtb*; do
	[ ! -e "$left" ] || echo "file $left"
done
true`
	c := bench.Shell(script)
	r, err := d.Exec(ctx, c)
	if err == nil {
		err = r.Err(c)
	}
	if err != nil {
		return nil, infra("look for leftovers in the DUT", err)
	}
	var lines []string
	for line := range strings.Lines(string(r.Stdout)) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines, nil
}
