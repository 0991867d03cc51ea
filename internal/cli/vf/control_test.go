package vf

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"vmtb/internal/fake/fakeenv"
	"vmtb/internal/fake/fakefiles"
	"vmtb/internal/fake/fakehost"
	"vmtb/internal/pick"
)

// control returns a command on a VF: pause, resume, stop, save=FILE or restore=FILE.
func (b *vfTest) control(command, vf string) func(context.Context) error {
	name, parseErr := pick.ParseOneVF(vf)
	op, file, _ := strings.Cut(command, "=")
	return func(ctx context.Context) error {
		if parseErr != nil {
			return parseErr
		}
		o := controlOptions{b.config, name}
		switch op {
		case "pause":
			return o.pause(ctx, b.Env)
		case "resume":
			return o.resume(ctx, b.Env)
		case "stop":
			return o.stop(ctx, b.Env)
		case "save":
			return (&saveOptions{b.config, name, file}).run(ctx, b.Env)
		case "restore":
			return (&restoreOptions{b.config, name, file}).run(ctx, b.Env)
		}
		return errors.New("no such command: " + op)
	}
}

// theirVFs returns a host on which 2 VFs were enabled without vmtb. Disable removes them; recover
// leaves them.
func theirVFs(t *testing.T, o fakehost.Options) *vfTest {
	t.Helper()
	o.Loaded = []string{"xe", "xe_vfio_pci"}
	b := newTest(t, o)
	if err := b.WriteFile("/sys/bus/pci/devices/0000:03:00.0/sriov_numvfs", []byte("2")); err != nil {
		t.Fatal(err)
	}
	b.first = b.Snapshot()
	return b
}

// running checks that a VF runs: it can be paused.
func (b *vfTest) running(t *testing.T, what, vf string) {
	t.Helper()
	must(t, what+": "+vf+" runs", b.control("pause", vf), b.control("resume", vf))
}

// After pause, stop, save or restore, disable restores the host and recover makes the VF run.
func TestControl(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	for name, o := range map[string]fakehost.Options{"tree": fakehost.BMG(), "flat": flatBMG()} {
		for _, commands := range [][]string{
			{"pause"},
			{"stop"},
			{"pause", "stop"},
			{"pause", "resume"},
			{"pause", "save=" + state},
			{"pause", "save=" + state, "restore=" + state},
			{"pause", "save=" + state, "restore=" + state, "resume"},
		} {
			what := name + " " + strings.Join(commands, " ")
			if o.Flat && len(commands) > 1 && strings.HasPrefix(commands[1], "save") {
				continue
			}
			b, ours := theirVFs(t, o), newTest(t, o)
			must(t, what, ours.enable(2))
			for _, c := range commands {
				must(t, what+": "+c, b.control(c, "2"), ours.control(c, "VF2"))
			}
			if left, err := b.State.DeadRuns(b.Err); err != nil ||
				(len(left) == 0) != (commands[len(commands)-1] == "resume") {
				t.Errorf("%s: journal has %v, %v", what, left, err)
			}
			must(t, what, ours.disable)
			ours.asFirst(t, what)
			must(t, what, b.recoverAll)
			b.running(t, what, "2")
			must(t, what, b.recoverAll)
			if left, err := b.State.DeadRuns(b.Err); err != nil || len(left) > 0 {
				t.Errorf("%s: left %v, %v", what, left, err)
			}
		}
	}
}

func flatBMG() fakehost.Options {
	o := fakehost.BMG()
	o.Flat = true
	return o
}

// The state of a VF can be restored into another VF, and later into the same VF.
func TestSaveRestore(t *testing.T) {
	b := newTest(t, fakehost.BMG())
	file := filepath.Join(t.TempDir(), "vf1.state")
	must(t, "save", b.enable(2))
	b.SetGuestState(1, "a picture")
	must(
		t, "save", b.control("pause", "1"), b.control("save="+file, "1"), b.control("resume", "1"),
		b.control("pause", "2"), b.control("restore="+file, "2"), b.control("resume", "2"),
	)
	if got, want := b.GuestState(2), b.GuestState(1); !slices.Equal(got, want) || want[0] == "" {
		t.Errorf("restored %q, want %q", got, want)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	for _, want := range []string{
		"save VF1 in " + file + ": done", "check " + file, "restore VF2 from " + file + ": done",
	} {
		if !strings.Contains(b.said.String(), want) {
			t.Errorf("said %q, want %q", b.said, want)
		}
	}
	must(t, "disable", b.disable)
	b.asFirst(t, "disable")
}

// A refused command leaves the VF, the file and the host unchanged, and its error names the remedy.
func TestControlRefused(t *testing.T) {
	one := fakehost.BMG()
	one.GTs = 1
	b := theirVFs(t, one)
	dir := t.TempDir()
	file, torn := filepath.Join(dir, "state"), filepath.Join(dir, "torn")
	must(t, "save", b.control("pause", "1"), b.control("save="+file, "1"), b.control("resume", "1"))
	whole, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(torn, whole[:len(whole)-30], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	before := b.Snapshot()
	for _, c := range []struct{ command, vf, says string }{
		{"resume", "1", "the VF is not paused"},
		{"save=" + file, "1", "the VF is not paused: vmtb vf pause VF1"},
		{"restore=" + file, "1", "the VF is not paused: vmtb vf pause VF1"},
		{"restore=" + torn, "1", "VF1 is unchanged; give a complete file of vmtb vf save"},
		{"restore=" + filepath.Join(dir, "none"), "1", "none: no such file or directory"},
		{"restore=" + dir, "1", dir + " is not a regular file"},
		{"save=" + filepath.Join(dir, "none", "x"), "1", "no such file or directory"},
		{"pause", "3", "VF3: there is no such VF, 2 are enabled"},
	} {
		err := b.control(c.command, c.vf)(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %s: %v, want %q", c.command, c.vf, err, c.says)
		}
		if b.Snapshot() != before {
			t.Fatalf("%s %s has changed the host", c.command, c.vf)
		}
	}
	if dead, err := b.State.DeadRuns(b.Err); err != nil || len(dead) > 0 {
		t.Errorf("left %v, %v", dead, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("left files: %v, %v", entries, err)
	}
	if now, err := os.ReadFile(file); err != nil || string(now) != string(whole) {
		t.Errorf("a refused save has changed the file: %v", err)
	}
	must(t, "stop", b.control("stop", "1"))
	if err := b.control("pause", "1")(t.Context()); err == nil || !strings.Contains(err.Error(), "vmtb vf reset VF1") {
		t.Errorf("pause of a stopped VF: %v", err)
	}
	must(t, "reset", b.reset("1"))
	b.running(t, "reset", "1")
}

// A VF in use can be paused and resumed. All other commands are refused.
func TestControlInUse(t *testing.T) {
	b := theirVFs(t, fakehost.BMG())
	must(t, "bind", b.bind("2", "xe-vfio-pci"))
	file := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	fakefiles.StartQEMU(t, b.Host, "/dev/vfio/12", "-name", "vm7", "-device", "vfio-pci,host=0000:03:00.2")
	must(t, "pause", b.control("pause", "2"), b.control("resume", "2"), b.control("pause", "2"))
	for _, command := range []string{"stop", "save=" + file, "restore=" + file} {
		err := b.control(command, "2")(t.Context())
		if err == nil || !strings.Contains(err.Error(), "the VF is in use by vm7 (pid 4711)") {
			t.Errorf("%s: %v", command, err)
		}
	}
	must(t, "resume", b.control("resume", "2"))
}

// If the driver breaks off a save or a restore, the VF runs afterwards, and no file is left.
func TestControlBreaks(t *testing.T) {
	for _, c := range []struct{ command, at string }{
		{"save", "save"},
		{"save", "save data"},
		{"save", "save finish"},
		{"restore", "restore"},
		{"restore", "restore data"},
		{"restore", "restore finish"},
	} {
		b := theirVFs(t, fakehost.BMG())
		dir := t.TempDir()
		good, file := filepath.Join(dir, "good"), filepath.Join(dir, "file")
		must(t, c.at, b.control("pause", "1"), b.control("save="+good, "1"))
		if c.command == "restore" {
			file = good
		}
		b.Firmware = func(op string, _, _ int) error {
			if op == c.at {
				return syscall.EIO
			}
			return nil
		}
		err := b.control(c.command+"="+file, "1")(t.Context())
		b.Firmware = nil
		if !errors.Is(err, syscall.EIO) || c.command == "restore" && !strings.Contains(err.Error(), "VF1 was reset") {
			t.Errorf("%s: %v", c.at, err)
		}
		b.running(t, c.at, "1")
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("%s: files %v, %v", c.at, entries, err)
		}
		must(t, c.at, b.control("pause", "1"), b.control("restore="+good, "1"), b.recoverAll)
		b.running(t, c.at, "1")
		if b.Oopses != nil {
			t.Errorf("%s: the kernel has oopsed in %v", c.at, b.Oopses)
		}
	}
}

// If a command is killed at any moment, recover makes the VF run again.
func TestControlKilled(t *testing.T) {
	for _, command := range []string{"pause", "stop", "save", "restore"} {
		for n := 1; ; n++ {
			dir := fakeenv.Shm(t)
			b := testOn(t, filepath.Join(dir, "a"), theirVFs(t, fakehost.BMG()).Host)
			file := filepath.Join(dir, "state")
			if command == "save" || command == "restore" {
				must(t, command, b.control("pause", "1"), b.control("save="+file, "1"))
			}
			var killed fakehost.Snapshot
			var files map[string][]byte
			writes := 0
			b.Hook = func(_, _ string, done bool) error {
				if writes++; writes == n {
					killed, files = b.Snapshot(), journalFiles(t, filepath.Join(dir, "a"))
				}
				return nil
			}
			must(t, command, b.control(command+"="+file, "1"))
			b.Hook = nil
			if killed == "" {
				break
			}
			crashed := testOn(t, filepath.Join(dir, "b"), b.FromSnapshot(killed))
			for name, data := range files {
				path := filepath.Join(dir, "b", name)
				data = []byte(strings.ReplaceAll(string(data), dir+"/a", dir+"/b"))
				if err := errors.Join(
					os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o600),
				); err != nil {
					t.Fatal(err)
				}
			}
			must(t, command, crashed.recoverAll)
			crashed.running(t, command+" was killed", "1")
			if crashed.Oopses != nil {
				t.Errorf("%s: the kernel has oopsed in %v", command, crashed.Oopses)
			}
		}
	}
}
