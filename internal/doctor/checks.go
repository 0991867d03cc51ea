package doctor

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
	"vmtb/internal/pick"
	"vmtb/internal/prose"
)

// hostChecks are the checks of the machine, in the order in which they run.
var hostChecks = []check{
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

func good(format string, args ...any) Result {
	return Result{Status: OK, Found: fmt.Sprintf(format, args...)}
}

func bad(remedy, format string, args ...any) Result {
	return Result{Status: Bad, Found: fmt.Sprintf(format, args...), Remedy: remedy}
}

func warn(remedy, format string, args ...any) Result {
	return Result{Status: Warn, Found: fmt.Sprintf(format, args...), Remedy: remedy}
}

func skip(format string, args ...any) Result {
	return Result{Status: Skipped, Found: fmt.Sprintf(format, args...)}
}

// fromError returns the result for an error. The error's advice is the remedy.
func fromError(err error) Result {
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

func checkRoot(_ context.Context, t *Target) Result {
	if t.euid != 0 {
		return bad("run as root: sudo vmtb ...", "user id %d may not change PCI devices and load drivers", t.euid)
	}
	return good("yes")
}

func checkIOMMU(_ context.Context, t *Target) Result {
	if err := t.host.CheckIOMMU(); err != nil {
		return fromError(err)
	}
	// The directory existed a moment ago.
	groups, _ := t.host.System.ReadDir("/sys/kernel/iommu_groups")
	return good("%s", prose.Count(len(groups), "group"))
}

func checkPF(ctx context.Context, t *Target) Result {
	driver := t.Config.Host.Driver
	// Without a journal: nothing is changed.
	pf, err := xe.FindPF(t.host.Tree(nil), pick.GPU(t.Config.Host))
	if err == nil {
		t.pf = pf
		from := ""
		if file := t.firstLine(ctx, "modinfo", "-n", driver); strings.Contains(file, "/updates/") ||
			strings.Contains(file, "/extra/") {
			from = " from outside the kernel (" + file + ")" // as Intel's DKMS package installs it
		}
		return good("%s, driven by %s%s", pick.DescribePF(pf), pf.Driver(), from)
	}
	d := fromError(err)
	if t.host.ModuleLoaded(driver) {
		return d
	}
	switch there, lookErr := t.host.ModuleExists(ctx, driver); {
	case lookErr != nil:
		return fromError(lookErr)
	case there:
		return warn("a run loads it; for more checks: modprobe "+driver, "the driver %s is not loaded", driver)
	default:
		d.Found += "; this kernel has no driver " + driver
		d.Remedy = "install the kernel's extra modules, or a kernel with CONFIG_DRM_XE=m and CONFIG_PCI_IOV=y"
	}
	return d
}

func checkVFs(_ context.Context, t *Target) Result {
	if t.pf == nil {
		return skip("no PF")
	}
	total, err := t.pf.TotalVFs()
	if err != nil {
		return fromError(err)
	}
	n, err := t.pf.NumVFs()
	if err != nil {
		return fromError(err)
	}
	if n == 0 {
		if t.pf.AdminOnly() {
			return warn(
				"flows with work on the host are skipped; configfs (sriov/admin_only_pf of the GPU) says so",
				"%d can be enabled; the PF is for administration only", total,
			)
		}
		return good("%d can be enabled", total)
	}
	vfs, _ := t.pf.VFs() // the VFs are needed only to name a process that uses one
	for _, vf := range vfs {
		if holders := vf.Holders(); len(holders) > 0 {
			return bad(
				"end that process first, or choose another PF with --card",
				"%s, and %s is used by %v", enabledVFs(n), vf.Address, holders[0],
			)
		}
	}
	return bad(
		"vmtb recover, if a run has left them; otherwise vmtb vf disable",
		"%s, and no process uses a VF", enabledVFs(n),
	)
}

// enabledVFs returns "1 VF is enabled", "2 VFs are enabled".
func enabledVFs(n int) string {
	verb := "are"
	if n == 1 {
		verb = "is"
	}
	return fmt.Sprintf("%s %s enabled", prose.Count(n, "VF"), verb)
}

// These are the lines of a PF's resource file with its VFs' BARs (PCI_IOV_RESOURCES in the kernel's
// include/linux/pci.h).
const firstIOVBar, lastIOVBar = 7, 12

func checkMMIO(_ context.Context, t *Target) Result {
	if t.pf == nil {
		return skip("no PF")
	}
	lines := strings.Split(t.text(t.pf.Dir()+"/resource"), "\n")
	if len(lines) <= lastIOVBar {
		return skip("%s does not report its VFs' BARs", t.pf.Address)
	}
	var room uint64
	for _, line := range lines[firstIOVBar : lastIOVBar+1] {
		var first, last, flags uint64
		if n, err := fmt.Sscanf(line, "%v %v %v", &first, &last, &flags); n == 3 && err == nil && last > first {
			room += last - first + 1
		}
	}
	if room == 0 {
		return bad(
			"enable above 4G decoding (and resizable BARs) in the firmware's set-up, or boot with pci=realloc",
			"there is no address space for the VFs' BARs",
		)
	}
	if room < 1<<20 {
		return good("%d KiB for the VFs' BARs", room>>10)
	}
	return good("%d MiB for the VFs' BARs", room>>20)
}

func checkDebugfs(_ context.Context, t *Target) Result {
	if t.pf == nil {
		return skip("no PF")
	}
	const dir = "/sys/kernel/debug/dri/"
	if _, err := t.host.System.ReadDir(dir + string(t.pf.Address)); err != nil {
		return bad(
			"mount -t debugfs debugfs /sys/kernel/debug, as root, on a kernel with CONFIG_DEBUG_FS",
			"quotas are set through %s%s: %v", dir, t.pf.Address, err,
		)
	}
	return good("%s%s", dir, t.pf.Address)
}

func checkVFIO(ctx context.Context, t *Target) Result {
	vendor := t.Config.Host.Driver + "-vfio-pci"
	for _, name := range []string{vendor, "vfio-pci"} {
		there, err := t.host.ModuleExists(ctx, name)
		switch {
		case err != nil:
			return fromError(err)
		case there && name == vendor:
			return good("%s", name)
		case there:
			return warn(
				fmt.Sprintf(
					"flows that save or move VFs are skipped: they need %s, of a kernel with CONFIG_XE_VFIO_PCI "+
						"(Linux 6.19 or newer; Debian's kernels are built without it, up to 7.3 at least) or of "+
						"Intel's "+
						"DKMS driver",
					vendor,
				),
				"vfio-pci, no %s", vendor,
			)
		}
	}
	return bad(
		"install the kernel's extra modules, or a kernel with CONFIG_VFIO_PCI=m",
		"this kernel has neither %s nor vfio-pci", vendor,
	)
}

var versionRE = regexp.MustCompile(`version (\d+)\.(\d+)`)

// leastQEMU is the oldest QEMU with the features that vmtb uses: working VFIO migration, snapshots
// as jobs.
const leastQEMU = "8.2"

func checkQEMU(ctx context.Context, t *Target) Result {
	d := findQEMU(ctx, t)
	if d.Status == Bad {
		t.noQEMU = []Result{d}
	}
	return d
}

func findQEMU(ctx context.Context, t *Target) Result {
	line := t.firstLine(ctx, t.Config.VM.QEMU, "--version")
	m := versionRE.FindStringSubmatch(line)
	const install = "install qemu-system-x86 and qemu-utils, version " + leastQEMU + " or newer " +
		"(Debian 12: from backports)"
	if m == nil {
		return bad(install, "%s does not run", t.Config.VM.QEMU)
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	if major < 8 || major == 8 && minor < 2 {
		return bad(install, "%s: too old", line)
	}
	if t.firstLine(ctx, "qemu-img", "--version") == "" {
		return bad(install, "qemu-img does not run")
	}
	return good("%s", line)
}

func checkKVM(ctx context.Context, t *Target) Result {
	accel, err := t.accel(ctx)
	switch {
	case err != nil:
		return fromError(err)
	case accel.Name == "kvm":
		return good("guests run with KVM")
	}
	return warn("guests run emulated, many times slower: enable virtualization in the firmware's set-up, or nested "+
		"virtualization on the host of this machine; modprobe kvm_intel or kvm_amd",
		"guests cannot run with KVM: %s", cmp.Or(accel.Reason, "the reason is unknown"))
}

func checkMemlock(_ context.Context, t *Target) Result {
	if t.euid != 0 {
		return skip("only checked for root")
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return fromError(err)
	}
	need := uint64(t.Config.VM.MemoryMiB) << 20
	if limit.Cur < need && !mayLock(t.text("/proc/self/status")) {
		return bad(
			"ulimit -l unlimited, or give this container CAP_IPC_LOCK",
			"VFIO pins all of a guest's memory (%d MiB), but the limit is %d MiB", need>>20, limit.Cur>>20,
		)
	}
	return good("VFIO may pin a guest's memory")
}

// mayLock reports whether the effective capabilities in a status file include CAP_IPC_LOCK. A
// process with it has no limit.
func mayLock(status string) bool {
	_, rest, _ := strings.Cut(status, "CapEff:")
	word, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
	caps, err := strconv.ParseUint(word, 16, 64)
	return err == nil && caps&(1<<unix.CAP_IPC_LOCK) != 0
}

func checkDisk(_ context.Context, t *Target) Result {
	need := uint64(t.Config.VM.MemoryMiB) << 21 // for two machines' states
	for _, dir := range []string{"/var/tmp", "."} {
		var fs unix.Statfs_t
		if err := unix.Statfs(dir, &fs); err != nil {
			return fromError(fmt.Errorf("%s: %w", dir, err))
		}
		if free := fs.Bavail * uint64(fs.Bsize); free < need {
			path, _ := filepath.Abs(dir)
			return bad(
				"free some space, or start vmtb elsewhere",
				"%s has %d MiB free; machines with their saved states need %d MiB", path, free>>20, need>>20,
			)
		}
	}
	return good("more than %d MiB free in /var/tmp and in the working directory", need>>20)
}

func checkImage(ctx context.Context, t *Target) Result {
	info, err := pick.GuestImage(ctx, t.Config, t.inspect)
	if err != nil {
		return fromError(err)
	}
	return good("%s", pick.DescribeImage(t.Config, info))
}

func checkIGT(_ context.Context, t *Target) Result {
	igt := t.Config.Host.IGT
	programs := []string{
		filepath.Join(igt.ToolDir, "igt_runner"), filepath.Join(igt.TestDir, t.Config.Host.Driver+"_exec_store"),
	}
	for _, path := range programs {
		if _, err := t.host.System.Stat(path); err != nil {
			const remedy = "flows that run IGT on the host are skipped: " +
				"install IGT, or give its path in the configuration (host.igt)"
			return warn(remedy, "%v", err)
		}
	}
	return good("%s, %s", igt.ToolDir, igt.TestDir)
}

func checkLeftovers(_ context.Context, t *Target) Result {
	dead, err := t.State.DeadRuns(t.Warnings)
	if err != nil {
		return fromError(err)
	}
	if len(dead) > 0 && t.State.HasVFChanges(dead[0]) {
		return bad("vmtb vf disable", "%s", dead[0].VFChangesText())
	}
	if len(dead) > 0 {
		return bad(
			"vmtb recover", "the run in %s died and has left %s on this host", dead[0].Dir,
			prose.Count(dead[0].Left, "change"),
		)
	}
	return good("none")
}

func checkKernelLog(ctx context.Context, t *Target) Result {
	const remedy = "flows do not count this message, but this kernel may be damaged: reboot"
	if taint, err := host.TaintOf(ctx, t.host); err == nil && taint&host.Broken != 0 {
		return warn(remedy, "the kernel has had an error before (tainted: %d, %v)", uint64(taint), taint&host.Broken)
	}
	rules, err := klog.Builtin()
	if err != nil {
		return fromError(err)
	}
	ctx, cancel := context.WithTimeout(ctx, programTime)
	defer cancel()
	r, err := t.host.Exec(ctx, bench.Command{Argv: []string{"dmesg"}})
	if err != nil || !r.OK() {
		return skip("dmesg failed: %v", errors.Join(err, r.Err(bench.Command{Argv: []string{"dmesg"}})))
	}
	for line := range strings.Lines(string(r.Stdout)) {
		for _, m := range klog.ParseConsole(line) {
			m.Source = klog.Host
			if rule, action := rules.Judge(m); action == klog.Fail {
				return warn(remedy, "%s (rule %s)", strings.TrimSpace(line), rule)
			}
		}
	}
	return good("no errors")
}
