package fakehost

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	pfDir = "/sys/bus/pci/devices/0000:03:00.0"
	sriov = "/sys/kernel/debug/dri/0000:03:00.0/sriov"
)

func bmg(t *testing.T) *Host {
	t.Helper()
	o := BMG()
	o.Loaded = []string{"xe", "xe_vfio_pci"}
	return New(o)
}

// A step is a write and its errno, 0 for success.
type step struct {
	file, value string
	errno       syscall.Errno
}

func (h *Host) steps(t *testing.T, steps ...step) {
	t.Helper()
	for i, s := range steps {
		var errno syscall.Errno
		err := h.WriteFile(s.file, []byte(s.value))
		if err != nil && !errors.As(err, &errno) || errno != s.errno {
			t.Fatalf("step %d: write %q to %s: %v, want %v", i, s.value, s.file, err, s.errno)
		}
	}
}

func (h *Host) reads(t *testing.T, file, want string) {
	t.Helper()
	b, err := h.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestNumVFs(t *testing.T) {
	numvfs := pfDir + "/sriov_numvfs"
	h := bmg(t)
	h.steps(t,
		step{numvfs, "x", syscall.EINVAL}, step{numvfs, "-1", syscall.EINVAL}, step{numvfs, "65536", syscall.EINVAL},
		step{numvfs, "7", syscall.ERANGE}, step{numvfs, "0", 0}, step{numvfs, "0x2\n", 0}, step{numvfs, "2", 0},
		step{numvfs, "3", syscall.EBUSY}, step{numvfs, "0", 0},
	)
	h.Lockdown = true
	h.steps(t, step{numvfs, "1", syscall.EPERM})
	h.Lockdown = false
	h.steps(t,
		step{"/sys/bus/pci/drivers/xe/unbind", "0000:03:00.0", 0},
		step{numvfs, "1", syscall.ENOENT}, step{numvfs, "9", syscall.ERANGE},
	)
}

// TestAutomatic: the fake gives the values of the contract's example: two VFs on an idle BMG.
func TestAutomatic(t *testing.T) {
	h := bmg(t)
	h.reads(t, sriov+"/pf/tile0/ggtt_available", "range:\t0x400000-0xfe9fffff\t(3.97 GiB)\n"+
		"total:\t4267704320\t(3.97 GiB)\nspare:\t67108864\t(64.0 MiB)\navail:\t4200595456\t(3.91 GiB)\n")
	h.steps(t, step{pfDir + "/sriov_numvfs", "2", 0})
	h.reads(
		t, sriov+"/pf/tile0/ggtt_provisioned",
		"VF1:\t0xbee00000-0xfedfffff\t(1.00 GiB)\nVF2:\t0x7ee00000-0xbedfffff\t(1.00 GiB)\n",
	)
	h.reads(t, sriov+"/pf/tile0/vram_provisioned", "VF1:\t6425673728\t(5.98 GiB)\nVF2:\t6425673728\t(5.98 GiB)\n")
	for _, gt := range []string{"gt0", "gt1"} {
		h.reads(
			t, sriov+"/pf/tile0/"+gt+"/contexts_provisioned",
			"VF1:\t49151-65534\t(16384)\nVF2:\t32767-49150\t(16384)\n",
		)
		h.reads(t, sriov+"/pf/tile0/"+gt+"/doorbells_provisioned", "VF1:\t0-63\t(64)\nVF2:\t64-127\t(64)\n")
	}
	h.steps(t, step{pfDir + "/sriov_numvfs", "0", 0})
	h.reads(t, sriov+"/pf/tile0/ggtt_provisioned", "")
}

func TestCustom(t *testing.T) {
	vf1, vf2 := sriov+"/vf1/tile0", sriov+"/vf2/tile0"
	restore := sriov + "/restore_auto_provisioning"
	h := bmg(t)
	h.steps(t,
		step{vf1 + "/ggtt_quota", "2013265919", 0}, step{vf2 + "/ggtt_quota", "2013265920", 0},
		step{vf1 + "/ggtt_quota", "3000000000", syscall.ENOSPC}, // VF1 has no GGTT now
		step{vf1 + "/gt0/contexts_quota", "65536", syscall.EINVAL},
		step{vf1 + "/gt0/contexts_quota", "65500", syscall.EDQUOT},
		step{vf1 + "/gt1/doorbells_quota", "257", syscall.EINVAL}, step{vf1 + "/gt1/doorbells_quota", "0x20", 0},
		step{vf1 + "/gt0/exec_quantum_ms", "4294967296", syscall.EOVERFLOW},
		step{vf1 + "/gt0/exec_quantum_ms", "200000", 0},
		step{vf1 + "/gt0/exec_quantum_ms", "-1", syscall.EINVAL},
		step{vf1 + "/gt0/exec_quantum_ms", "1 2", syscall.EINVAL},
		step{vf1 + "/gt0/exec_quantum_ms", "99999999999999999999", syscall.ERANGE},
		step{sriov + "/pf/tile0/ggtt_spare", "4096", syscall.EINVAL},
		step{sriov + "/pf/tile0/gt0/reset_engine", "2", syscall.EOVERFLOW},
		step{pfDir + "/sriov_numvfs", "1", 0}, step{restore, "1", syscall.EBUSY}, step{pfDir + "/sriov_numvfs", "0", 0},
	)
	h.reads(t, vf1+"/ggtt_quota", "0\n")
	h.reads(t, vf2+"/ggtt_quota", "2013265920\n")
	h.reads(t, vf1+"/gt0/exec_quantum_ms", "100000\n")
	h.steps(t, step{restore, "z", syscall.EINVAL}, step{restore, "y", 0})
	h.reads(t, vf2+"/ggtt_quota", "0\n")
}

// TestUnclean: in automatic mode, a VF has resources before it is enabled only if something other
// than debugfs gave them. The driver keeps them.
func TestUnclean(t *testing.T) {
	h := bmg(t)
	h.s.Functions[1].GGTT = span{1 << 30, 4096}
	h.steps(t, step{pfDir + "/sriov_numvfs", "1", 0}, step{pfDir + "/sriov_numvfs", "0", 0})
	admin := pfDir + "/sriov_admin"
	h.steps(t,
		step{sriov + "/vf1/tile0/gt0/exec_quantum_ms", "5", 0},
		step{admin + "/vf1/profile/sched_priority", "low", syscall.EACCES},
		step{admin + "/.bulk_profile/sched_priority", "high", syscall.EINVAL},
		step{admin + "/pf/profile/sched_priority", "high", 0},
		step{admin + "/.bulk_profile/sched_priority", "normal\n", 0},
	)
	h.reads(t, admin+"/pf/profile/sched_priority", "low [normal] high\n")
	if _, err := h.ReadFile(admin + "/vf1/profile/exec_quantum_ms"); !errors.Is(err, syscall.EUCLEAN) {
		t.Errorf("GTs differ: %v", err)
	}
	h.steps(t, step{admin + "/.bulk_profile/exec_quantum_ms", "9", 0})
	h.reads(t, admin+"/vf1/profile/exec_quantum_ms", "9\n")
}

func TestBinding(t *testing.T) {
	vf := "/sys/bus/pci/devices/0000:03:00.1"
	h := bmg(t)
	h.steps(t,
		step{pfDir + "/sriov_drivers_autoprobe", "maybe", syscall.EINVAL},
		step{pfDir + "/sriov_drivers_autoprobe", "0", 0},
		step{pfDir + "/sriov_numvfs", "1", 0},
		step{"/sys/bus/pci/drivers_probe", "0000:03:00.2", syscall.ENODEV},
		step{"/sys/bus/pci/drivers_probe", "0000:03:00.1\n", 0},
		step{"/sys/bus/pci/drivers/xe/bind", "0000:03:00.1", syscall.ENODEV},
	)
	h.reads(t, vf+"/driver_override", "(null)\n")
	if _, err := h.Readlink(vf + "/driver"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("a driver without autoprobe and override: %v", err)
	}
	h.steps(t, step{vf + "/driver_override", "xe-vfio-pci\n", 0}, step{"/sys/bus/pci/drivers_probe", "0000:03:00.1", 0})
	if link, err := h.Readlink(vf + "/driver"); err != nil || !strings.HasSuffix(link, "/drivers/xe-vfio-pci") {
		t.Errorf("driver: %q, %v", link, err)
	}
	h.steps(t,
		step{vf + "/driver_override", "", 0}, // an empty write has no effect
		step{vf + "/driver/unbind", "0000:03:00.1", 0},
		step{"/sys/bus/pci/drivers/xe/unbind", "0000:03:00.1", syscall.ENODEV},
	)
	h.reads(t, vf+"/driver_override", "xe-vfio-pci\n")
	h.steps(t, step{vf + "/driver_override", "\n", 0})
	h.reads(t, vf+"/driver_override", "(null)\n")
	h.reads(t, "/sys/bus/pci/devices/0000:03:00.0/virtfn0/device", "0xe20b\n")
}

func TestModes(t *testing.T) {
	h := bmg(t)
	h.steps(t,
		step{pfDir + "/sriov_totalvfs", "1", syscall.EACCES}, step{pfDir + "/nothing", "1", syscall.ENOENT},
		step{sriov + "/pf/tile0/ggtt_available", "1", syscall.EINVAL}, step{pfDir, "1", syscall.EISDIR},
	)
	if _, err := h.ReadFile("/sys/bus/pci/drivers_probe"); !errors.Is(err, syscall.EACCES) {
		t.Errorf("read of a 0200 sysfs file: %v", err)
	}
	h.reads(t, sriov+"/restore_auto_provisioning", "")
}

func TestSize(t *testing.T) {
	for v, want := range map[uint64]string{
		0: "0 B", 512: "512 B", 4096: "4.00 KiB", 64 << 20: "64.0 MiB", 512 << 20: "512 MiB", 1023 << 20: "1023 MiB",
		1 << 30:    "1.00 GiB",
		2013265920: "1.88 GiB", 4271898624: "3.98 GiB", 12717129728: "11.8 GiB", 6358564864: "5.92 GiB",
	} {
		if got := size(v); got != want {
			t.Errorf("size(%d) = %q, want %q", v, got, want)
		}
	}
}

func TestFlat(t *testing.T) {
	o := BMG()
	o.Flat, o.Loaded = true, []string{"xe"}
	h := New(o)
	quota := "/sys/kernel/debug/dri/1/gt1/vf1/contexts_quota"
	h.steps(t, step{quota, "100", 0}, step{pfDir + "/sriov_numvfs", "1", 0})
	h.reads(t, quota, "100\n") // the manual value wins on this GT
	h.reads(t, "/sys/kernel/debug/dri/0000:03:00.0/gt0/vf1/contexts_quota", "65278\n")
	h.steps(t, step{pfDir + "/sriov_numvfs", "0", 0})
	h.reads(t, quota, "0\n")
}
