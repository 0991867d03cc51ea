package sysfs_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"vmtb/bench"
	"vmtb/bench/sysfs"
	"vmtb/bench/undo"
	"vmtb/internal/fake/fakehost"
)

const (
	pf     = "/sys/bus/pci/devices/0000:03:00.0"
	numvfs = pf + "/sriov_numvfs"
)

func newTree(t *testing.T) (*sysfs.Tree, *fakehost.Host) {
	t.Helper()
	log, err := undo.Open(filepath.Join(t.TempDir(), "undo.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	o := fakehost.BMG()
	o.Loaded = []string{"xe", "xe_vfio_pci"}
	h := fakehost.New(o)
	return &sysfs.Tree{FS: h, Log: log}, h
}

func TestRead(t *testing.T) {
	tree, _ := newTree(t)
	if s, err := tree.Text(pf + "/driver_override"); s != "" || err != nil {
		t.Errorf("an unset string: %q, %v", s, err)
	}
	if n, err := tree.Uint(pf + "/device"); n != 0xe20b || err != nil {
		t.Errorf("a hexadecimal number: %x, %v", n, err)
	}
	var he *bench.HostError
	if _, err := tree.Uint("/proc/cmdline"); !errors.As(err, &he) || he.Noun != "/proc/cmdline" {
		t.Errorf("no number: %v", err)
	}
	if _, err := tree.Text(pf + "/none"); !errors.As(err, &he) || !errors.Is(err, syscall.ENOENT) {
		t.Errorf("no file: %v", err)
	}
}

// TestRefusals shows errors as users see them.
func TestRefusals(t *testing.T) {
	tree, _ := newTree(t)
	if err := tree.Change(t.Context(), undo.Write{Path: numvfs, Old: "0", New: "1"}, "1"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, value string
		errno       syscall.Errno
		says        string
	}{
		{
			numvfs, "2", syscall.EBUSY,
			"write 2 to " + numvfs + ": EBUSY (device or resource busy) (VFs are enabled already",
		},
		{numvfs, "77", syscall.ERANGE, "sriov_totalvfs"},
		{pf + "/sriov_totalvfs", "1", syscall.EACCES, "are you root?"},
		{"/sys/kernel/debug/dri/1/sriov/restore_auto_provisioning", "1", 0, ""},
		{
			"/sys/kernel/debug/dri/1/sriov/vf1/tile0/vram_quota", "99999999999999", syscall.E2BIG,
			"more than the GPU has",
		},
		{
			"/sys/kernel/debug/dri/1/sriov/restore_auto_provisioning", "1", syscall.EBUSY,
			"write 0 to sriov_numvfs first",
		},
		{"/sys/bus/pci/drivers_probe", "0000:99:00.0\n", syscall.ENODEV, "no such PCI device"},
		{"/sys/bus/pci/drivers/xe/unbind", "0000:99:00.0", syscall.ENODEV, "not bound to this driver"},
		{"/sys/kernel/debug/dri/1/sriov/vf1/pause", "1", 0, ""},
		{
			"/sys/kernel/debug/dri/1/sriov/vf1/pause", "1", syscall.EUCLEAN,
			": EUCLEAN (structure needs cleaning) (the GTs",
		},
	} {
		err := tree.Write(t.Context(), c.path, c.value)
		if c.errno == 0 {
			if err != nil { // provisioning is still automatic: there is nothing to restore
				t.Error(err)
			}
			if err := tree.Write(
				t.Context(), "/sys/kernel/debug/dri/1/sriov/vf1/tile0/gt0/doorbells_quota", "1",
			); err != nil {
				t.Error(err)
			}
			continue
		}
		var he *bench.HostError
		if !errors.As(err, &he) || !errors.Is(err, c.errno) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("write %q to %s:\n got %v\nwant %v and %q", c.value, c.path, err, c.errno, c.says)
		}
	}
}

// TestHangingWrite: a write returns at its deadline although the kernel does not. This happens when
// VFs are disabled while a process holds one.
func TestHangingWrite(t *testing.T) { synctest.Test(t, testHangingWrite) }

func testHangingWrite(t *testing.T) {
	tree, h := newTree(t)
	vf := "/sys/bus/pci/devices/0000:03:00.1"
	for _, w := range [][2]string{
		{pf + "/sriov_drivers_autoprobe", "0"},
		{numvfs, "1"},
		{vf + "/driver_override", "xe-vfio-pci"},
		{"/sys/bus/pci/drivers_probe", "0000:03:00.1"},
	} {
		if err := tree.Write(t.Context(), w[0], w[1]); err != nil {
			t.Fatal(err)
		}
	}
	qemu := undo.Process{PID: 4711, StartTime: 1, Comm: "qemu"}
	h.Start(qemu, "/dev/vfio/11")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := tree.Write(ctx, numvfs, "0")
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "has not returned") {
		t.Errorf("Write: %v", err)
	}
	if err := h.Kill(t.Context(), qemu); err != nil {
		t.Fatal(err)
	}
	err = sysfs.Poll(t.Context(), 10*time.Second, "VFs gone", func() (bool, error) {
		n, err := tree.Uint(numvfs)
		return n == 0, err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		err := sysfs.Poll(t.Context(), time.Minute, "the moon", func() (bool, error) { return false, nil })
		if err == nil || err.Error() != "the moon: not seen within 1 min" || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := sysfs.Poll(ctx, time.Minute, "x", func() (bool, error) { return false, nil }); !errors.Is(
			err, context.DeadlineExceeded,
		) {
			t.Errorf("caller's deadline: %v", err)
		}
		calls := 0
		if err := sysfs.Poll(t.Context(), time.Minute, "x", func() (bool, error) {
			calls++
			return calls == 3, nil
		}); err != nil || calls != 3 {
			t.Errorf("%v after %d calls", err, calls)
		}
		if err := sysfs.Poll(t.Context(), time.Minute, "x", func() (bool, error) {
			return false, syscall.EIO
		}); !errors.Is(err, syscall.EIO) {
			t.Errorf("failing condition: %v", err)
		}
	})
}
