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
	"vmtb/internal/progress"
)

// ShareTag is the 9p tag under which the DUT finds its [Options.Share]. It mounts it at the same
// path as here, so that a path in a report is right on both machines.
const ShareTag = "vmtb"

// Options say how a DUT is started.
type Options struct {
	Images        Images
	Dir           string   // folder for the DUT's own evidence: console, transcripts, command line
	Share         string   // directory of this machine that the DUT may write to
	XeParams      []string // parameters of the stand-in for xe, "device=ptl": lab/kmod/README.md lists them
	GPUProperties []string // NAME=VALUE, of the emulated GPU: lab/gpu/README.md lists them
	Program       string   // the vmtb that [DUT.Vmtb] runs; "" is this program
	Progress      *progress.Progress

	MayReboot bool // it can be reset, and boots again; else a DUT whose kernel dies ends
	Boot      bool // it boots, also if it could go on from the state of one that has booted
}

// A DUT is a running emulated machine under test.
type DUT struct {
	*vm.VM
	share, program string
}

// Start starts a DUT, twice if need be. A second failure is a [bench.InfraError] with the end of the console.
func Start(ctx context.Context, o Options) (d *DUT, err error) {
	defer runtime.KeepAlive(o.Images) // until QEMU has its files open
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

// Twice starts a DUT with these options. One that does not come up is booted once more, and said so: nothing of a flow
// has run by then.
func (o Options) Twice(ctx context.Context, start func(Options) error) error {
	err := start(o)
	if err == nil || ctx.Err() != nil || isUsage(err) {
		return err
	}
	o.Progress.Printf("the DUT did not come up, booting it once more: %v", err)
	o.Boot = true
	return start(o)
}

func isUsage(err error) bool {
	_, is := errors.AsType[*bench.UsageError](err)
	return is
}

// infra makes any error of the DUT the lab's fault: no flow is to blame for it.
func infra(op string, err error) error {
	return &bench.InfraError{Op: "lab: " + op, Err: err, Advice: "that says nothing about the driver under test"}
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

// dut is a machine that has been started with these options.
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

// hardware is the DUT's. What is odd about it was found out by crashes: see lab/kmod/README.md and docs/lab.md.
func (o Options) hardware(ctx context.Context) (vm.Spec, error) {
	devices, extra, cmdline := o.Images.GPU.hardware(o.GPUProperties)
	s := vm.Spec{
		Name: "dut", QEMU: o.Images.QEMU, Machine: "q35,kernel-irqchip=split",
		// Nested SVM under emulation corrupts the stack of a kernel with more than one CPU.
		Accel: "tcg,thread=single", CPU: "EPYC,+svm", CPUs: 1,
		// All of it below 4 GiB, which on q35 ends at 2816 MiB: otherwise firmware puts the VFs'
		// BARs above it, where QEMU's igb decodes only the low 32 bits of an address, and the
		// stand-in of xe has to move them.
		MemoryMiB: 2800,
		Disks:     []vm.Disk{{Image: o.Images.DUT, Format: "raw", Bus: "virtio"}},
		Kernel: &vm.Kernel{
			Image: o.Images.DUTKernel, Initrd: o.Images.DUTInitrd,
			Cmdline: "console=ttyS0 intel_iommu=on iommu=pt panic=-1 no_timer_check" + cmdline +
				" cryptomgr.notests mitigations=off nowatchdog rcupdate.rcu_cpu_stall_suppress=1 kvm.halt_poll_ns=0" +
				o.xeCmdline(),
		},
		Shares:   []vm.Share{{Tag: ShareTag, Path: o.Share, Writable: true}},
		Serials:  1, // a shell, for "vmtb lab shell"
		NoReboot: !o.MayReboot,
		Devices:  append([]string{"intel-iommu,intremap=on,caching-mode=on"}, devices...),
		Extra: append(
			extra, "-smbios", "type=1,manufacturer=vmtb,product="+strings.ReplaceAll(o.Images.GPU.product(), ",", ",,"),
		),
	}
	accel, err := vm.ProbeAccel(ctx, cmp.Or(o.Images.QEMU, "qemu-system-x86_64"))
	if err == nil && accel.Name == "kvm" && nestedKVM() {
		s.Accel, s.CPU, s.CPUs = "kvm", "host", 2
	} else if o.Images.GPU.Real() {
		s.Extra = append(s.Extra, "-icount", virtualTime)
	}
	return s, err
}

// virtualTime ties the DUT's clock to what its CPU has done: 2^0 ns for an instruction, and real
// time while it idles. By this machine's clock the timers of the DUT and of its guests would come
// however little each has got done in between: where this machine is loaded, they end up doing
// nothing else. Only a QEMU that lab/gpu has mended runs guests so (nested.c).
const virtualTime = "shift=0,sleep=on"

// xeCmdline is the part of the kernel command line that modprobe gives to xe.
func (o Options) xeCmdline() string {
	var b strings.Builder
	for _, p := range o.XeParams {
		b.WriteString(" xe." + p)
	}
	return b.String()
}

// nestedKVM reports whether this machine's KVM lets guests have KVM, too.
func nestedKVM() bool {
	for _, module := range []string{"kvm_intel", "kvm_amd"} {
		on, err := os.ReadFile("/sys/module/" + module + "/parameters/nested")
		if err == nil && strings.ContainsAny(string(on[:1]), "Y1") {
			return true
		}
	}
	return false
}

// wake makes a DUT that has started, or booted, usable, and sets its clock: that of an emulated one
// stands still while this machine has no time for it.
func (d *DUT) wake(ctx context.Context) error {
	const setClock = `date -s "@$2" >/dev/null`
	return d.run(ctx, wakeScript+setClock, d.share, strconv.FormatInt(time.Now().Unix(), 10))
}

// wakeScript is what is to be done in a DUT after its start and after each boot, before anything
// else: it mounts the share $1 at the path that it has here.
const wakeScript = `
mkdir -p "$1"
grep -q " $1 9p " /proc/mounts ||
	mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=none ` + ShareTag + ` "$1"
`

// run runs a shell script in the DUT, which must end well.
func (d *DUT) run(ctx context.Context, script string, args ...string) error {
	c := bench.Command{Argv: append([]string{"/bin/sh", "-ec", script, "sh"}, args...)}
	r, err := d.Exec(ctx, c)
	if err == nil && !r.OK() {
		err = errors.New(bench.Tail(r.Stderr, 3)) // not the script: who reads the error has not written it
	}
	return err
}

// Vmtb runs vmtb inside the DUT, with args, and returns its exit code. What it prints goes to out as it comes. When ctx
// ends it gets a SIGTERM, and stopDeadline to put the DUT back.
func (d *DUT) Vmtb(ctx context.Context, args []string, out io.Writer) (code int, err error) {
	bin, output := filepath.Join(d.share, "vmtb-run"), filepath.Join(d.share, "output.log")
	if err := copyFile(bin, d.program, 0o755); err != nil {
		return 0, infra("give vmtb to the DUT", err)
	}
	defer os.Remove(bin)
	tail, err := follow(output, out)
	if err != nil {
		return 0, infra("follow the DUT's output", err)
	}
	// A copy of its own: guards of an earlier one may still run.
	const line = `out=$1 bin=$2; shift 2; own=/run/vmtb-bin-$$; rm -f /run/vmtb-bin-*; cp "$bin" $own; ` +
		`cd /root; echo $$ >/run/vmtb-bin.pid; exec $own "$@" >"$out" 2>&1`
	c := bench.Command{Argv: append([]string{"/bin/sh", "-ec", line, "sh", output, bin}, args...)}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { // Exec's own end would signal vmtb's machines, too
		time.AfterFunc(stopDeadline, cancel)
		_, _ = d.Exec(running, bench.Shell("kill -TERM $(cat /run/vmtb-bin.pid)")) // a failure shows in the other Exec
	})()
	r, err := d.Exec(running, c)
	err = errors.Join(err, tail.stop())
	switch {
	case err != nil:
		return 0, infra("run vmtb in the DUT", err)
	case r.Signal != 0:
		return 0, infra("run vmtb in the DUT", fmt.Errorf("it was killed by signal %d", r.Signal))
	case len(r.Stderr) > 0: // the shell's: vmtb writes elsewhere
		return 0, infra("run vmtb in the DUT", errors.New(bench.Tail(r.Stderr, 3)))
	}
	return r.ExitCode, nil
}

const stopDeadline = 5 * time.Minute

func copyFile(to, from string, mode os.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// Leftovers is what runs have left on the DUT: a line for each thing that is not as it was after boot.
func (d *DUT) Leftovers(ctx context.Context) ([]string, error) {
	const script = `
for pf in /sys/bus/pci/drivers/xe/*:*; do
	[ -e "$pf/sriov_numvfs" ] || continue
	[ "$(cat "$pf/sriov_numvfs")" = 0 ] || echo "${pf##*/}: sriov_numvfs is $(cat "$pf/sriov_numvfs")"
	[ "$(cat "$pf/sriov_drivers_autoprobe")" = 1 ] ||
		echo "${pf##*/}: sriov_drivers_autoprobe is $(cat "$pf/sriov_drivers_autoprobe")"
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
