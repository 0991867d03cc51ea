package vmtb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/klog"
	"vmtb/bench/xe"
	"vmtb/internal/prose"
)

// A checkup looks at one thing that runs need. Later ones may use what earlier ones have found.
type checkup struct {
	name string
	look func(ctx context.Context, p *patient) diagnosis
}

var checkups = []checkup{
	{"gpu", checkGPU},
	{"root", checkRoot},
	{"iommu", checkIOMMU},
	{"pf", checkPF},
	{"vfs", checkVFs},
	{"mmio", checkMMIO},
	{"debugfs", checkDebugfs},
	{"vfio", checkVFIO},
	{"qemu", checkQEMU},
	{"kvm", checkKVM},
	{"memlock", checkMemlock},
	{"disk", checkDisk},
	{"image", checkImage},
	{"guest", checkGuest},
	{"igt", checkIGT},
	{"leftovers", checkLeftovers},
	{"kernel log", checkKernelLog},
	{"vm", checkVM},
	{"lab", checkLab},
	{"image build", checkImageBuild},
}

func fine(format string, args ...any) diagnosis {
	return diagnosis{Health: healthy, Found: fmt.Sprintf(format, args...)}
}

func bad(remedy, format string, args ...any) diagnosis {
	return diagnosis{Health: sick, Found: fmt.Sprintf(format, args...), Remedy: remedy}
}

func warn(remedy, format string, args ...any) diagnosis {
	return diagnosis{Health: ailing, Found: fmt.Sprintf(format, args...), Remedy: remedy}
}

func skip(format string, args ...any) diagnosis {
	return diagnosis{Health: unasked, Found: fmt.Sprintf(format, args...)}
}

// failed is an error as a finding: its advice is the remedy.
func failed(err error) diagnosis {
	advice := adviceOf(err)
	return bad(advice, "%s", strings.Replace(err.Error(), " ("+advice+")", "", 1))
}

func adviceOf(err error) string {
	if e, ok := errors.AsType[*bench.HostError](err); ok {
		return e.Advice
	}
	if e, ok := errors.AsType[*bench.InfraError](err); ok {
		return e.Advice
	}
	if e, ok := errors.AsType[*bench.UsageError](err); ok {
		return e.Advice
	}
	return ""
}

func checkRoot(_ context.Context, p *patient) diagnosis {
	if p.euid != 0 {
		return bad("run as root: sudo vmtb ...", "user id %d may not change PCI devices and load drivers", p.euid)
	}
	return fine("yes")
}

func checkIOMMU(_ context.Context, p *patient) diagnosis {
	if err := p.host.CheckIOMMU(); err != nil {
		return failed(err)
	}
	groups, _ := p.host.System.ReadDir("/sys/kernel/iommu_groups") // it was there a moment ago
	return fine("%s", prose.Count(len(groups), "group"))
}

func checkPF(ctx context.Context, p *patient) diagnosis {
	driver := p.config.Host.Driver
	pf, err := xe.FindPF(p.host.Tree(nil), selector(p.config.Host)) // without a journal: nothing is changed
	if err == nil {
		p.pf = pf
		from := ""
		if file := p.said(ctx, "modinfo", "-n", driver); strings.Contains(file, "/updates/") || strings.Contains(file, "/extra/") {
			from = " from outside the kernel (" + file + ")" // as Intel's DKMS package installs it
		}
		return fine("%s, driven by %s%s", describePF(pf), pf.Driver(), from)
	}
	d := failed(err)
	if p.host.ModuleLoaded(driver) {
		return d
	}
	switch there, lookErr := p.host.ModuleExists(ctx, driver); {
	case lookErr != nil:
		return failed(lookErr)
	case there:
		return warn("a run loads it; to see more here: modprobe "+driver, "the driver %s is not loaded", driver)
	default:
		d.Found += "; this kernel has no driver " + driver
		d.Remedy = "install the kernel's extra modules, or a kernel with CONFIG_DRM_XE=m and CONFIG_PCI_IOV=y"
	}
	return d
}

func checkVFs(_ context.Context, p *patient) diagnosis {
	if p.pf == nil {
		return skip("no PF")
	}
	total, err := p.pf.TotalVFs()
	if err != nil {
		return failed(err)
	}
	n, err := p.pf.NumVFs()
	if err != nil {
		return failed(err)
	}
	if n == 0 {
		if p.pf.AdminOnly() {
			return warn("flows with work on the host are skipped; configfs (sriov/admin_only_pf of the GPU) says so", "%d can be enabled; the PF is for administration only", total)
		}
		return fine("%d can be enabled", total)
	}
	vfs, _ := p.pf.VFs() // told for their holders only
	for _, vf := range vfs {
		if holders := vf.Holders(); len(holders) > 0 {
			return bad("end it first, or choose another PF with --card", "%s, and %s is used by %v", enabledVFs(n), vf.Address, holders[0])
		}
	}
	return bad("vmtb recover, if a run has left them; else: vmtb vf disable", "%s, and no process uses a VF", enabledVFs(n))
}

// enabledVFs is "1 VF is enabled", "2 VFs are enabled".
func enabledVFs(n int) string {
	verb := "are"
	if n == 1 {
		verb = "is"
	}
	return fmt.Sprintf("%s %s enabled", prose.Count(n, "VF"), verb)
}

// The lines of a PF's resource file that are its VFs' BARs (PCI_IOV_RESOURCES in the kernel's include/linux/pci.h).
const firstIOVBar, lastIOVBar = 7, 12

func checkMMIO(_ context.Context, p *patient) diagnosis {
	if p.pf == nil {
		return skip("no PF")
	}
	lines := strings.Split(p.text(p.pf.Dir()+"/resource"), "\n")
	if len(lines) <= lastIOVBar {
		return skip("%s does not tell of its VFs' BARs", p.pf.Address)
	}
	var room uint64
	for _, line := range lines[firstIOVBar : lastIOVBar+1] {
		var first, last, flags uint64
		if n, err := fmt.Sscanf(line, "%v %v %v", &first, &last, &flags); n == 3 && err == nil && last > first {
			room += last - first + 1
		}
	}
	if room == 0 {
		return bad("enable above 4G decoding (and resizable BARs) in the firmware's set-up, or boot with pci=realloc", "there is no address space for the VFs' BARs")
	}
	if room < 1<<20 {
		return fine("%d KiB for the VFs' BARs", room>>10)
	}
	return fine("%d MiB for the VFs' BARs", room>>20)
}

func checkDebugfs(_ context.Context, p *patient) diagnosis {
	if p.pf == nil {
		return skip("no PF")
	}
	const dir = "/sys/kernel/debug/dri/"
	if _, err := p.host.System.ReadDir(dir + string(p.pf.Address)); err != nil {
		return bad("mount -t debugfs debugfs /sys/kernel/debug, as root, on a kernel with CONFIG_DEBUG_FS", "quotas are set through %s%s: %v", dir, p.pf.Address, err)
	}
	return fine("%s%s", dir, p.pf.Address)
}

func checkVFIO(ctx context.Context, p *patient) diagnosis {
	vendor := p.config.Host.Driver + "-vfio-pci"
	for _, name := range []string{vendor, "vfio-pci"} {
		there, err := p.host.ModuleExists(ctx, name)
		switch {
		case err != nil:
			return failed(err)
		case there && name == vendor:
			return fine("%s", name)
		case there:
			return warn(fmt.Sprintf("flows that save or move VFs are skipped: they need %s, of a kernel with CONFIG_XE_VFIO_PCI (Linux 6.19 or newer; Debian's kernels are built without it, up to 7.3 at least) or of Intel's DKMS driver", vendor), "vfio-pci, no %s", vendor)
		}
	}
	return bad("install the kernel's extra modules, or a kernel with CONFIG_VFIO_PCI=m", "this kernel has neither %s nor vfio-pci", vendor)
}

var versionRE = regexp.MustCompile(`version (\d+)\.(\d+)`)

// leastQEMU is the oldest QEMU that can do what vmtb asks of it: VFIO migration that works, snapshots as jobs.
const leastQEMU = "8.2"

func checkQEMU(ctx context.Context, p *patient) diagnosis {
	d := lookAtQEMU(ctx, p)
	if d.Health == sick {
		p.noQEMU = []diagnosis{d}
	}
	return d
}

func lookAtQEMU(ctx context.Context, p *patient) diagnosis {
	line := p.said(ctx, p.config.VM.QEMU, "--version")
	m := versionRE.FindStringSubmatch(line)
	const install = "install qemu-system-x86 and qemu-utils, version " + leastQEMU + " or newer (Debian 12: from backports)"
	if m == nil {
		return bad(install, "%s does not run", p.config.VM.QEMU)
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	if major < 8 || major == 8 && minor < 2 {
		return bad(install, "%s: too old", line)
	}
	if p.said(ctx, "qemu-img", "--version") == "" {
		return bad(install, "qemu-img does not run")
	}
	return fine("%s", line)
}

func checkKVM(ctx context.Context, p *patient) diagnosis {
	accel, err := p.accel(ctx)
	switch {
	case err != nil:
		return failed(err)
	case accel.Name == "kvm":
		return fine("a guest runs with it")
	}
	return warn("guests run emulated, many times slower: enable virtualization in the firmware's set-up, or nested virtualization on the host of this machine; modprobe kvm_intel or kvm_amd",
		"no guest runs with it: %s", cmp.Or(accel.Reason, "not known why"))
}

func checkMemlock(_ context.Context, p *patient) diagnosis {
	if p.euid != 0 {
		return skip("asked when run as root")
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return failed(err)
	}
	need := uint64(p.config.VM.MemoryMiB) << 20
	if limit.Cur < need && !mayLock(p.text("/proc/self/status")) {
		return bad("ulimit -l unlimited, or give this container CAP_IPC_LOCK", "VFIO pins all of a guest's memory (%d MiB), and the limit is %d MiB", need>>20, limit.Cur>>20)
	}
	return fine("VFIO may pin a guest's memory")
}

// mayLock reports whether the effective capabilities in a status file include CAP_IPC_LOCK, to which no limit applies.
func mayLock(status string) bool {
	_, rest, _ := strings.Cut(status, "CapEff:")
	word, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
	caps, err := strconv.ParseUint(word, 16, 64)
	return err == nil && caps&(1<<unix.CAP_IPC_LOCK) != 0
}

func checkDisk(_ context.Context, p *patient) diagnosis {
	need := uint64(p.config.VM.MemoryMiB) << 21 // for two machines' states
	for _, dir := range []string{"/var/tmp", "."} {
		var fs unix.Statfs_t
		if err := unix.Statfs(dir, &fs); err != nil {
			return failed(fmt.Errorf("%s: %w", dir, err))
		}
		if free := fs.Bavail * uint64(fs.Bsize); free < need {
			path, _ := filepath.Abs(dir)
			return bad("free some space, or start vmtb elsewhere", "%s has %d MiB free; machines with their saved states want %d MiB", path, free>>20, need>>20)
		}
	}
	return fine("more than %d MiB free in /var/tmp and here", need>>20)
}

func checkImage(ctx context.Context, p *patient) diagnosis {
	info, err := guestImage(ctx, p.config, p.inspect)
	if err != nil {
		return failed(err)
	}
	return fine("%s", describeImage(p.config, info))
}

func checkIGT(_ context.Context, p *patient) diagnosis {
	igt := p.config.Host.IGT
	for _, path := range []string{filepath.Join(igt.ToolDir, "igt_runner"), filepath.Join(igt.TestDir, p.config.Host.Driver+"_exec_store")} {
		if _, err := p.host.System.Stat(path); err != nil {
			return warn("flows that run IGT on the host are skipped: install IGT, or say in the configuration (host.igt) where it is", "%v", err)
		}
	}
	return fine("%s, %s", igt.ToolDir, igt.TestDir)
}

func checkLeftovers(_ context.Context, p *patient) diagnosis {
	dead, err := p.deadRuns()
	if err != nil {
		return failed(err)
	}
	if len(dead) > 0 && p.byHand(dead[0]) {
		return bad("vmtb vf disable", "%s", dead[0].handwork())
	}
	if len(dead) > 0 {
		return bad("vmtb recover", "the run in %s died and has left %s on this host", dead[0].dir, prose.Count(dead[0].left, "change"))
	}
	return fine("none")
}

func checkKernelLog(ctx context.Context, p *patient) diagnosis {
	const remedy = "it will not count for flows, but says that this kernel is in trouble: reboot"
	if taint, err := host.TaintOf(ctx, p.host); err == nil && taint&host.Broken != 0 {
		return warn(remedy, "the kernel has been in trouble before (tainted: %d, %v)", uint64(taint), taint&host.Broken)
	}
	rules, err := klog.Builtin()
	if err != nil {
		return failed(err)
	}
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	r, err := p.host.Exec(ctx, bench.Command{Argv: []string{"dmesg"}})
	if err != nil || !r.OK() {
		return skip("dmesg does not tell: %v", errors.Join(err, r.Err(bench.Command{Argv: []string{"dmesg"}})))
	}
	for line := range strings.Lines(string(r.Stdout)) {
		for _, m := range klog.ParseConsole(line) {
			m.Source = klog.Host
			if rule, action := rules.Judge(m); action == klog.Fail {
				return warn(remedy, "%s (rule %s)", strings.TrimSpace(line), rule)
			}
		}
	}
	return fine("nothing bad in it")
}
