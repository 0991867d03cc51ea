package fakehost

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
)

func oneGT(t *testing.T) *Host {
	t.Helper()
	o := BMG()
	o.Loaded, o.GTs = []string{"xe", "xe_vfio_pci"}, 1
	h := New(o)
	h.steps(t, step{pfDir + "/sriov_numvfs", "2", 0})
	return h
}

func twoGTs(t *testing.T) *Host {
	t.Helper()
	h := bmg(t)
	h.steps(t, step{pfDir + "/sriov_numvfs", "2", 0})
	return h
}

const vf1 = sriov + "/vf1"

// reading checks the errno of a read.
func (h *Host) reading(t *testing.T, file string, want syscall.Errno) {
	t.Helper()
	var errno syscall.Errno
	_, err := h.ReadFile(file)
	if err != nil && !errors.As(err, &errno) || errno != want {
		t.Fatalf("read %s: %v, want %v", file, err, want)
	}
}

// TestControl follows the table of section 3.6 on one GT, where errors are not folded.
func TestControl(t *testing.T) {
	h := oneGT(t)
	h.steps(t,
		step{vf1 + "/resume", "1", syscall.EPERM}, step{vf1 + "/save", "1", syscall.EPERM},
		step{vf1 + "/restore", "1", syscall.EPERM},
		step{vf1 + "/pause", "", 0}, step{vf1 + "/pause", "z", syscall.EINVAL}, step{vf1 + "/pause", "0", 0},
		step{vf1 + "/resume", "1", syscall.EPERM},
		step{vf1 + "/pause", "1", 0}, step{vf1 + "/pause", "on", syscall.ESTALE}, step{vf1 + "/resume", "yes\n", 0},
		step{vf1 + "/resume", "1", syscall.EPERM},
		step{vf1 + "/stop", "1", 0}, step{vf1 + "/stop", "1", syscall.ESTALE}, step{vf1 + "/pause", "1", syscall.EPERM},
		step{vf1 + "/resume", "1", syscall.EPERM}, step{vf1 + "/save", "1", syscall.EPERM},
		step{vf1 + "/restore", "1", syscall.EPERM},
		step{pfDir + "/sriov_admin/vf1/stop", "1", syscall.ESTALE}, step{pfDir + "/sriov_admin/vf1/stop", "0", 0},
		step{vf1 + "/reset", "1", 0}, step{vf1 + "/pause", "1", 0}, step{vf1 + "/reset", "1", 0},
		step{vf1 + "/resume", "1", syscall.EPERM},
		step{vf1 + "/pause", "1", 0},
		step{vf1 + "/save", "1", 0}, step{vf1 + "/save", "1", syscall.EALREADY},
		step{vf1 + "/restore", "1", syscall.EBUSY},
		step{vf1 + "/resume", "1", syscall.EBUSY},
		step{vf1 + "/reset", "1", 0}, step{vf1 + "/pause", "1", 0},
		step{vf1 + "/restore", "1", 0}, step{vf1 + "/restore", "1", syscall.EALREADY},
		step{vf1 + "/save", "1", syscall.EBUSY}, step{vf1 + "/resume", "1", syscall.EBUSY},
		step{pfDir + "/virtfn0/reset", "2", syscall.EINVAL}, step{pfDir + "/virtfn0/reset", "1", 0},
		step{vf1 + "/pause", "1", 0},
		step{sriov + "/vf3/pause", "1", syscall.EIO}, // this VF is not enabled
		step{pfDir + "/sriov_numvfs", "0", 0}, step{pfDir + "/sriov_numvfs", "1", 0},
		step{vf1 + "/resume", "1", syscall.EPERM},
	)
	h.reads(t, vf1+"/pause", "")
	h.reading(t, pfDir+"/sriov_admin/vf1/stop", syscall.EACCES)
}

// TestUncleanFold: on two GTs, every error except the last step's becomes EUCLEAN.
func TestUncleanFold(t *testing.T) {
	h := twoGTs(t)
	control := func(gt int) string { return fmt.Sprintf("%s/tile0/gt%d/control", vf1, gt) }
	h.reads(t, control(1), "stop\npause\nresume\n")
	h.steps(t,
		step{vf1 + "/pause", "1", 0}, step{vf1 + "/pause", "1", syscall.EUCLEAN},
		step{control(0), "resume\n", 0}, step{control(0), "resume", syscall.EPERM},
		step{vf1 + "/resume", "1", syscall.EUCLEAN}, // gt1 resumed
		step{control(1), "resume", syscall.EPERM}, step{control(1), "clear", 0},
		step{control(1), strings.Repeat("x", 32), syscall.EINVAL},
		step{control(1), "pause", 0}, step{vf1 + "/pause", "1", syscall.ESTALE}, // only the last GT fails
		step{control(1), "resume", 0}, step{vf1 + "/save", "1", syscall.EPERM},
		step{vf1 + "/save", "1", syscall.EALREADY}, // the first raw error; gt0 stays started
		step{vf1 + "/stop", "1", 0}, step{vf1 + "/stop", "1", syscall.EUCLEAN},
		step{pfDir + "/sriov_admin/vf1/stop", "1", syscall.EUCLEAN},
	)
	for _, c := range []struct {
		op   string
		gt   int
		want syscall.Errno
	}{
		{"pause", 0, syscall.EUCLEAN},
		{"pause", 1, syscall.EIO},
		{"stop", 0, syscall.EUCLEAN},
		{"stop", 1, syscall.EIO},
		{"reset", 0, syscall.EUCLEAN},
		{"reset", 1, syscall.EUCLEAN}, // its second loop follows
	} {
		h.Firmware = nil
		h.steps(t, step{vf1 + "/reset", "1", 0})
		h.Firmware = func(op string, vf, gt int) error {
			if op == c.op && gt == c.gt && vf == 1 {
				return syscall.EIO
			}
			return nil
		}
		h.steps(t, step{vf1 + "/" + c.op, "1", c.want})
	}
	h.steps(t, step{pfDir + "/virtfn0/reset", "1", 0}) // the device's own reset does not report the error
}

func TestSaveRestore(t *testing.T) {
	h := twoGTs(t)
	vf2 := sriov + "/vf2"
	h.SetGuestState(1, "a picture")
	h.steps(t, step{vf1 + "/pause", "1", 0}, step{vf2 + "/pause", "1", 0})
	h.reading(t, vf1+"/save", syscall.EIO)    // no save is running
	h.reading(t, vf1+"/restore", syscall.EIO) // the pause has completed
	h.steps(t, step{vf1 + "/save", "1", 0})
	h.reading(t, vf1+"/save", syscall.EIO) // the save is not finished
	data, err := h.ReadFile(vf1 + "/migration_data")
	if err != nil {
		t.Fatal(err)
	}
	h.reads(t, vf1+"/migration_size", fmt.Sprintf("%d\n", len(data)))
	h.reading(t, vf1+"/migration_data", 0) // again and again the end
	h.reading(t, vf1+"/save", 0)
	h.steps(t, step{vf1 + "/save", "1", 0}, step{vf1 + "/stop", "1", 0})

	h.steps(t, step{vf2 + "/migration_data", string(data), syscall.EIO}, step{vf2 + "/restore", "1", 0})
	h.reading(t, vf2+"/restore", syscall.ETIMEDOUT) // no data so far
	f, err := h.OpenFile(vf2+"/migration_data", os.O_WRONLY)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range data {
		if _, err := f.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	h.reading(t, vf2+"/restore", 0)
	h.steps(t, step{vf2 + "/resume", "1", 0})
	if got := h.GuestState(2); got[0] != "a picture on gt0" || got[1] != "a picture on gt1" {
		t.Errorf("restored: %q", got)
	}
	h.steps(t, step{vf2 + "/reset", "1", 0}, step{vf2 + "/pause", "0", 0})
	h.reading(t, vf2+"/restore", syscall.ETIMEDOUT) // nothing has completed since the reset
	if _, err := h.OpenFile(vf1+"/save", os.O_RDONLY); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("OpenFile of what is no stream: %v", err)
	}
}

func TestMigrationData(t *testing.T) {
	h := twoGTs(t)
	h.steps(t, step{vf1 + "/pause", "1", 0}, step{sriov + "/vf2/pause", "1", 0}, step{vf1 + "/save", "1", 0})
	data, err := h.ReadFile(vf1 + "/migration_data")
	if err != nil {
		t.Fatal(err)
	}
	change := func(at int, b byte) string {
		d := bytes.Clone(data)
		d[at] = b
		return string(d)
	}
	smaller := bytes.Clone(data)
	binary.LittleEndian.PutUint64(smaller[64:], 4096) // size of the GGTT
	for _, c := range []struct {
		name, data string
		write      syscall.Errno
		finish     syscall.Errno
	}{
		{"good", string(data), 0, 0},
		{"version", change(0, 2), syscall.EINVAL, syscall.ETIMEDOUT},
		{"no type", change(1, 0), syscall.EINVAL, syscall.ETIMEDOUT},
		{"unknown type", change(1, 7), 0, 0},
		{"tile", change(2, 1), syscall.EINVAL, syscall.ETIMEDOUT},
		{"another GT", change(3, 9), syscall.EINVAL, syscall.ETIMEDOUT},
		{"descriptor of a GT", change(3, 1), syscall.EINVAL, syscall.ETIMEDOUT},
		{"other device", change(28, 0xff), syscall.ENODEV, syscall.ETIMEDOUT},
		{"unknown key", change(34, 0x77), 0, 0},
		{"bad key-length-value", change(24, 9), syscall.ENODATA, syscall.ETIMEDOUT},
		{"other GGTT", string(smaller), 0, syscall.EIO},
		{"cut", string(data[:len(data)-1]), 0, syscall.ETIMEDOUT},
		{
			"trailer with payload", string(data[:len(data)-8]) + "\x01\x00\x00\x00\x00\x00\x00\x00x", syscall.EINVAL,
			syscall.ETIMEDOUT,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			vf2 := sriov + "/vf2"
			// The save drops the rest of a packet of the previous case. A reset does not.
			h.steps(
				t, step{vf2 + "/reset", "1", 0}, step{vf2 + "/pause", "1", 0}, step{vf2 + "/save", "1", 0},
				step{vf2 + "/reset", "1", 0},
			)
			h.steps(
				t, step{vf2 + "/pause", "1", 0}, step{vf2 + "/restore", "1", 0},
				step{vf2 + "/migration_data", c.data, c.write},
			)
			h.reading(t, vf2+"/restore", c.finish)
			if c.finish == syscall.EIO {
				h.steps(t, step{vf2 + "/migration_data", "x", syscall.EIO})
			}
		})
	}
}

// TestReadBlocks: a read of the data waits while there is no save. A reset ends the read.
func TestReadBlocks(t *testing.T) {
	h := twoGTs(t)
	h.steps(t, step{vf1 + "/pause", "1", 0})
	entered := make(chan bool)
	h.Firmware = func(op string, _, _ int) error {
		if op == "save data" {
			close(entered)
		}
		return nil
	}
	done := make(chan error)
	go func() {
		_, err := h.ReadFile(vf1 + "/migration_data")
		done <- err
	}()
	<-entered
	h.steps(t, step{vf1 + "/pause", "0", 0}) // the read holds no lock
	for {
		h.steps(t, step{vf1 + "/reset", "1", 0})
		select {
		case err := <-done:
			if !errors.Is(err, syscall.EIO) {
				t.Errorf("read: %v", err)
			}
			return
		default: // the reset came before the read waited
		}
	}
}

func TestNoMigration(t *testing.T) {
	o := BMG()
	o.Loaded, o.NoMigration = []string{"xe"}, true
	h := New(o)
	h.steps(t, step{pfDir + "/sriov_numvfs", "1", 0}, step{vf1 + "/pause", "1", 0}, step{vf1 + "/save", "1", 0})
	h.reading(t, vf1+"/migration_size", syscall.ENOPKG)
	h.reading(t, vf1+"/migration_data", syscall.EIO)
	h.reading(t, vf1+"/save", syscall.EIO)
}

func TestVFDriver(t *testing.T) {
	h := twoGTs(t)
	vf := "/sys/kernel/debug/dri/0000:03:00.1"
	h.reads(t, vf+"/gt0/vf/self_config", "GGTT range:\t0xbee00000-0xfedfffff\nGGTT size:\t1073741824 (1.00 GiB)\n"+
		"LMEM size:\t6425673728 (5.98 GiB)\nGuC contexts:\t16384\nGuC doorbells:\t64\n")
	h.reads(t, vf+"/tile0/gt1/vf/self_config", "GuC contexts:\t16384\nGuC doorbells:\t64\n")
	stoppers := vf + "/gt1/vf/resfix_stoppers"
	h.steps(t, step{stoppers, "0x5", 0}, step{stoppers, "x", syscall.EINVAL}, step{stoppers, "-1", syscall.EINVAL})
	h.reads(t, stoppers, "0x05\n")
	o := BMG()
	o.Flat, o.Loaded = true, []string{"xe"}
	old := New(o)
	old.steps(t, step{pfDir + "/sriov_numvfs", "1", 0})
	old.reads(t, vf+"/gt1/vf/self_config", "GGTT range:\t0x4400000-0xfedfffff\nGGTT size:\t4204789760 (3.92 GiB)\n"+
		"GGTT shift on last restore:\t71303168\nGuC contexts:\t65278\nGuC doorbells:\t256\n")
	old.reading(t, vf+"/gt1/vf/resfix_stoppers", syscall.ENOENT)
	old.reading(t, vf1+"/pause", syscall.ENOENT)
}

func FuzzMigrationData(f *testing.F) {
	o := BMG()
	o.Loaded = []string{"xe"}
	h := New(o)
	for _, s := range []step{{pfDir + "/sriov_numvfs", "2", 0}, {vf1 + "/pause", "1", 0}} {
		if err := h.WriteFile(s.file, []byte(s.value)); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(h.migration.stream(1))
	f.Fuzz(func(t *testing.T, data []byte) {
		h.steps(t, step{vf1 + "/reset", "1", 0}, step{vf1 + "/pause", "1", 0}, step{vf1 + "/restore", "1", 0})
		d, err := h.OpenFile(vf1+"/migration_data", os.O_WRONLY)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(d, bytes.NewReader(data)); err != nil {
			return
		}
		if _, err := h.ReadFile(vf1 + "/restore"); err == nil && len(data) < packetHeader {
			t.Errorf("restored from %x", data)
		}
	})
}
