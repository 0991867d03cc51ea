package vm

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vmtb/bench"
)

// holdBytes locks bytes of a file until the test ends, as QEMU's programs do.
func holdBytes(t *testing.T, file string, at ...int64) {
	t.Helper()
	f, err := os.Open(file)
	must(t, err)
	t.Cleanup(func() { must(t, f.Close()) })
	for _, b := range at {
		must(t, unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Start: b, Len: 1}))
	}
}

// An image of any format is refused if another program may write to it, as QEMU would refuse it.
// Any number of programs may read it.
func TestImageInUse(t *testing.T) {
	needQEMUImg(t)
	t.Chdir(t.TempDir())
	disk := append(record(grub, part{0x83, false}), bytes.Repeat([]byte("data"), 256<<10)...)
	for _, name := range []string{"read.img", "written.img", "resized.img", "exclusive.img", "base.img"} {
		must(t, os.WriteFile(name, disk, 0o600))
	}
	for _, name := range []string{"read", "written"} {
		realQEMUImg(t, "convert", "-f", "raw", "-O", "qcow2", name+".img", name+".qcow2")
	}
	realQEMUImg(t, "create", "-q", "-f", "qcow2", "-b", "base.img", "-F", "raw", "diff.qcow2")
	for file, bytes := range map[string][]int64{
		"read.img": {100, 201, 203}, "read.qcow2": {100, 201, 203}, // locks of our own machines, through an overlay
		"written.img": {100, 101, 201}, "written.qcow2": {100, 101, 103, 201, 203}, "resized.img": {103},
		"exclusive.img": {100, 200}, "base.img": {100, 101},
	} {
		holdBytes(t, file, bytes...)
	}
	for name, want := range map[string]string{
		"read.img": "", "read.qcow2": "",
		"written.img": "written.img is in use by another program, which writes to it (end that program; lsof " +
			"written.img shows it)",
		"written.qcow2": "written.qcow2 is in use by another program, which writes to it",
		"resized.img":   "resized.img is in use by another program, which may change its size",
		"exclusive.img": "exclusive.img is in use by another program, which lets no other program read it",
		"diff.qcow2":    "base.img is in use by another program, which writes to it",
	} {
		_, err := LookAtImage(t.Context(), name, BIOS)
		if want == "" {
			must(t, err)
		} else if !errors.As(err, new(*bench.UsageError)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want a UsageError with %q", name, err, want)
		}
	}
}

// A real program of QEMU takes the expected locks.
func TestImageOpenInQEMU(t *testing.T) {
	needQEMUImg(t)
	t.Chdir(t.TempDir())
	must(
		t,
		os.WriteFile(
			"disk.img", append(record(grub, part{0x83, false}), bytes.Repeat([]byte("data"), 256<<10)...), 0o600,
		),
	)
	for _, c := range []struct {
		args []string
		used bool
	}{{[]string{"-f", "raw", "disk.img"}, true}, {[]string{"-r", "-f", "raw", "disk.img"}, false}} {
		cmd := exec.CommandContext(t.Context(), "qemu-io", c.args...)
		in, err := cmd.StdinPipe()
		must(t, err)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		_, err = io.WriteString(in, "length\n")
		must(t, err)
		_, err = out.Read(make([]byte, 1)) // the image is open now
		must(t, err)
		if _, err := LookAtImage(t.Context(), "disk.img", BIOS); errors.As(err, new(*bench.UsageError)) != c.used {
			t.Errorf("qemu-io %q: %v", c.args, err)
		}
		must(t, in.Close())
		must(t, cmd.Wait())
		if _, err := LookAtImage(t.Context(), "disk.img", BIOS); err != nil {
			t.Errorf("after qemu-io %q: %v", c.args, err)
		}
	}
}
