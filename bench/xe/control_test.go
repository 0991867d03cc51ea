package xe_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/xe"
	"vmtb/bench/xe/vgpu"
	"vmtb/internal/fake/fakehost"
)

// enabled returns a PF with two VFs.
func enabled(t *testing.T, o fakehost.Options) (setup, *xe.PF) {
	t.Helper()
	s := newSetup(t, o)
	pf := s.find(t)
	if err := pf.Provision(t.Context(), vgpu.Auto(2)); err != nil {
		t.Fatal(err)
	}
	if _, err := pf.EnableVFs(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	return s, pf
}

func oneGT(o fakehost.Options) fakehost.Options {
	o.GTs = 1
	return o
}

// TestControl runs each operation, and checks the errno of a refused one and the state derived from
// it.
func TestControl(t *testing.T) {
	for name, c := range map[string]struct {
		o             fakehost.Options
		twice, resume syscall.Errno // errno of a second pause, and of a resume without a pause
		state         xe.VFState
	}{
		"tree":         {fakehost.BMG(), syscall.EUCLEAN, syscall.EUCLEAN, xe.StateUnknown},
		"tree, one GT": {oneGT(fakehost.BMG()), syscall.ESTALE, syscall.EPERM, xe.StatePaused},
		"flat":         {flat(fakehost.BMG()), syscall.ESTALE, syscall.EPERM, xe.StatePaused},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			_, pf := enabled(t, c.o)
			c1 := pf.Control(1)
			for _, do := range []func(context.Context) error{
				c1.Pause, c1.Resume, c1.Pause, c1.Reset, c1.Pause, c1.Stop, c1.Reset, c1.Stop, c1.Reset,
			} {
				if err := do(ctx); err != nil {
					t.Fatal(err)
				}
			}
			refused(t, pf.Control(1).Resume(ctx), c.resume, "resume", "")
			if err := pf.Control(1).Pause(ctx); err != nil {
				t.Fatal(err)
			}
			refused(t, pf.Control(1).Pause(ctx), c.twice, "pause", c.state)
			if err := pf.Control(2).Pause(ctx); err != nil {
				t.Errorf("the other VF: %v", err)
			}
			for _, vf := range []int{0, -1, 7} {
				if err := pf.Control(vf).Pause(ctx); !isUsage(err) || !strings.Contains(err.Error(), "has VFs 1 to 6") {
					t.Errorf("Pause(%d): %v", vf, err)
				}
			}
		})
	}
}

func refused(t *testing.T, err error, errno syscall.Errno, op string, state xe.VFState) {
	t.Helper()
	var ce *xe.ControlError
	var he *bench.HostError
	if !errors.As(err, &ce) || !errors.As(err, &he) || !errors.Is(err, errno) || ce.Op != op || ce.VF != 1 ||
		state != "" && ce.State != state {
		t.Fatalf("%s: %v; want %v, state %q", op, err, errno, state)
	}
	if he.Advice == "" || strings.Contains(he.Advice, "root") {
		t.Errorf("%s: not explained: %v", op, err)
	}
}

func isUsage(err error) bool {
	var ue *bench.UsageError
	return errors.As(err, &ue)
}

// TestControlInPart: one GT obeys and the other does not.
func TestControlInPart(t *testing.T) {
	for name, o := range map[string]fakehost.Options{"tree": fakehost.BMG(), "flat": flat(fakehost.BMG())} {
		for gt := range 2 {
			s, pf := enabled(t, o)
			s.Firmware = func(_ string, vf, at int) error {
				if at == gt {
					return syscall.ETIMEDOUT
				}
				return nil
			}
			want := syscall.ETIMEDOUT
			if gt == 0 && !o.Flat {
				want = syscall.EUCLEAN
			}
			t.Run(name, func(t *testing.T) {
				refused(t, pf.Control(1).Pause(t.Context()), want, "pause", xe.StateUnknown)
			})
		}
	}
}

// TestStopInSysfs: without debugfs a VF can only be stopped and reset.
func TestStopInSysfs(t *testing.T) {
	s, _ := enabled(t, fakehost.BMG())
	pf, err := xe.FindPF(host.New(noDebugfs{s.Host}).Tree(s.log), xe.Selector{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if err := errors.Join(pf.Control(1).Stop(ctx), pf.Control(1).Reset(ctx), pf.Control(1).Stop(ctx)); err != nil {
		t.Error(err)
	}
	refused(t, pf.Control(1).Stop(ctx), syscall.EUCLEAN, "stop", xe.StateUnknown)
	if err := pf.Control(3).Reset(ctx); !isUsage(err) {
		t.Errorf("reset of a VF that is not enabled: %v", err)
	}
	_, sizeErr := pf.Control(1).MigrationSize()
	for name, err := range map[string]error{
		"Pause": pf.Control(1).Pause(ctx), "Resume": pf.Control(1).Resume(ctx), "MigrationSize": sizeErr,
		"Save": pf.Control(1).Save(ctx, io.Discard), "Restore": pf.Control(1).Restore(ctx, strings.NewReader("")),
	} {
		if !errors.Is(err, bench.ErrNotAvailable) || !strings.Contains(err.Error(), "debugfs is not mounted") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSaveRestore restores a VF's saved state into the other VF.
func TestSaveRestore(t *testing.T) {
	ctx := t.Context()
	s, pf := enabled(t, fakehost.BMG())
	s.SetGuestState(1, strings.Repeat("a picture ", 100))
	var saved bytes.Buffer
	refused(t, pf.Control(1).Save(ctx, &saved), syscall.EPERM, "save", "")
	for _, vf := range []int{1, 2} {
		if err := pf.Control(vf).Pause(ctx); err != nil {
			t.Fatal(err)
		}
	}
	size, err := pf.Control(1).MigrationSize()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time from the paused state
		saved.Reset()
		if err := pf.Control(1).Save(ctx, &saved); err != nil || int64(saved.Len()) != size {
			t.Fatalf("Save: %d bytes of %d, %v", saved.Len(), size, err)
		}
	}
	if err := pf.Control(2).Restore(ctx, iotest.OneByteReader(&saved)); err != nil {
		t.Fatal(err)
	}
	if got, want := s.GuestState(2), s.GuestState(1); got[0] != want[0] || got[1] != want[1] || want[0] == "" {
		t.Errorf("restored %q, want %q", got, want)
	}
	if err := errors.Join(pf.Control(2).Resume(ctx), pf.Control(1).Resume(ctx)); err != nil {
		t.Error(err)
	}
	if err := s.log.Undo(ctx, s.Host); err != nil {
		t.Error(err)
	}
}

// faulty makes one step of the firmware fail.
func faulty(s setup, at string, fault error) {
	s.Firmware = func(op string, _, _ int) error {
		if op == at {
			return fault
		}
		return nil
	}
}

// TestSaveFails: after a failed save the error names the VF's state, and the VF can be paused or
// resumed again.
func TestSaveFails(t *testing.T) {
	for _, c := range []struct {
		name, at string
		w        io.Writer
		want     error
		state    xe.VFState
	}{
		{"start", "save", io.Discard, syscall.EIO, xe.StateUnknown},
		{"producer", "save data", io.Discard, syscall.EIO, xe.StateSaving},
		{"finish", "save finish", io.Discard, syscall.EIO, xe.StateSaving},
		{"disk full", "", brokenWriter{}, io.ErrShortWrite, xe.StatePaused},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := t.Context()
			s, pf := enabled(t, fakehost.BMG())
			if err := pf.Control(1).Pause(ctx); err != nil {
				t.Fatal(err)
			}
			faulty(s, c.at, syscall.EIO)
			err := pf.Control(1).Save(ctx, c.w)
			var ce *xe.ControlError
			if !errors.As(err, &ce) || !errors.Is(err, c.want) || ce.State != c.state || ce.Op != "save" {
				t.Fatalf("Save: %v", err)
			}
			s.Firmware = nil
			if c.state == xe.StatePaused {
				err = pf.Control(1).Resume(ctx)
			} else if err = pf.Control(1).Reset(ctx); err == nil {
				err = pf.Control(1).Pause(ctx)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// TestSaveHangs: if the driver delivers no data, Save returns at the caller's deadline, plus some
// time to clean up.
func TestSaveHangs(t *testing.T) {
	for _, forGood := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, pf := enabled(t, fakehost.BMG())
			if err := pf.Control(1).Pause(t.Context()); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			release := make(chan struct{})
			s.Firmware = func(op string, _, _ int) error {
				if op == "save data" {
					cancel()
					<-release
				}
				return nil
			}
			if !forGood {
				go func() {
					<-ctx.Done()
					synctest.Wait()
					close(release)
				}()
			}
			err := pf.Control(1).Save(ctx, io.Discard)
			want := map[bool]xe.VFState{false: xe.StatePaused, true: xe.StateSaving}[forGood]
			var ce *xe.ControlError
			if !errors.Is(err, context.Canceled) || !errors.As(err, &ce) || ce.State != want ||
				!strings.Contains(err.Error(), "kernel has not returned") {
				t.Errorf("Save: %v, want state %q", err, want)
			}
			if forGood {
				close(release)
			}
		})
	}
}

func TestRestoreFails(t *testing.T) {
	_, pf := enabled(t, fakehost.BMG())
	if err := pf.Control(1).Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	var saved bytes.Buffer
	if err := pf.Control(1).Save(t.Context(), &saved); err != nil {
		t.Fatal(err)
	}
	data := saved.Bytes()
	const (
		begin  = "before anything is written"
		second = 40 // offset of the second packet
	)
	change := func(at int, b byte) io.Reader {
		d := bytes.Clone(data)
		d[at] = b
		return bytes.NewReader(d)
	}
	for _, c := range []struct {
		name, at string
		r        io.Reader
		want     error
		says     string
	}{
		{"start", "restore", &saved, syscall.EIO, ""},
		{"not a saved state", begin, change(1, 9), nil, "packet 1 is of type 9: only the first is a descriptor"},
		{
			"another version", begin, change(0, 2), nil,
			"packet 1 is of version 2 of the format, not 1: the kernel may crash on it",
		},
		{"another version later", "", change(second, 2), nil, "packet 2 is of version 2"},
		{"another GT", "", change(second+3, 9), nil, "packet 2 is of tile 0 and GT 9, which this GPU does not have"},
		{"another tile", "", change(second+2, 1), nil, "packet 2 is of tile 1 and GT 0"},
		{"no type", "", change(second+1, 0), nil, "packet 2 has no type"},
		{"huge", "", change(second+21, 1), nil, "has a payload of"},
		{
			"descriptor of a GT", begin, change(3, 1), nil,
			"packet 1, of type 1, is of tile 0 and GT 1, not of the device",
		},
		{"other GPU", "", change(28, 0xff), syscall.ENODEV, "of another GPU model"},
		{"other quotas", "", change(66, 1), syscall.EIO, "the same GGTT and VRAM quotas"},
		{"cut", "", bytes.NewReader(data[:len(data)-3]), nil, "the saved state: it ends in the middle of packet 7"},
		{"no trailer", "", bytes.NewReader(data[:len(data)-24]), nil, "it ends after 6 packets, without a trailer"},
		{"empty", begin, strings.NewReader(""), nil, "it is empty"},
		{
			"header cut", begin, bytes.NewReader(data[:20]), nil,
			"it ends in the middle of packet 1, after 20 bytes of its header",
		},
		{"payload cut", "", bytes.NewReader(data[:second+26]), nil, "it ends in the middle of packet 2"},
		{"reader", begin, iotest.ErrReader(io.ErrNoProgress), io.ErrNoProgress, ""},
		{"write", "restore data", bytes.NewReader(data), syscall.EIO, ""},
		{"finish", "restore finish", bytes.NewReader(data), syscall.ETIMEDOUT, "waits for more"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := t.Context()
			s, pf := enabled(t, fakehost.BMG())
			if err := pf.Control(1).Pause(ctx); err != nil {
				t.Fatal(err)
			}
			fault := c.want
			faulty(s, c.at, fault)
			err := pf.Control(1).Restore(ctx, c.r)
			var ce *xe.ControlError
			if !errors.As(err, &ce) || c.want != nil && !errors.Is(err, c.want) ||
				!strings.Contains(err.Error(), c.says) ||
				(ce.State != xe.StateRestoring) != (c.at == "restore" || c.at == begin) {
				t.Fatalf("Restore: %v", err)
			}
			s.Firmware = nil
			if c.at == begin { // the VF was not changed
				if err := pf.Control(1).Resume(ctx); err != nil {
					t.Error(err)
				}
			}
			c1 := pf.Control(1)
			again := bytes.NewReader(data)
			if err := errors.Join(
				c1.DiscardRestore(ctx), c1.Pause(ctx), c1.Restore(ctx, again), c1.Resume(ctx),
			); err != nil {
				t.Errorf("once more: %v", err)
			}
			if s.Oopses != nil {
				t.Errorf("the kernel has oopsed in %v", s.Oopses)
			}
		})
	}
}

// TestRestoreHangs: Restore returns although the driver takes no data.
func TestRestoreHangs(t *testing.T) {
	s, pf := enabled(t, fakehost.BMG())
	if err := pf.Control(1).Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	defer close(release)
	s.Firmware = func(op string, _, _ int) error {
		if op == "restore data" {
			cancel()
			<-release
		}
		return nil
	}
	header := make([]byte, 24)
	header[0], header[1] = 1, 1
	binary.LittleEndian.PutUint64(header[16:], 3<<20)
	err := pf.Control(1).Restore(
		ctx, io.MultiReader(bytes.NewReader(header), strings.NewReader(strings.Repeat("x", 3<<20))),
	)
	var ce *xe.ControlError
	if !errors.Is(err, context.Canceled) || !errors.As(err, &ce) || ce.State != xe.StateRestoring {
		t.Errorf("Restore: %v", err)
	}
}

func TestNoMigration(t *testing.T) {
	o := fakehost.BMG()
	o.NoMigration = true
	_, unsupported := enabled(t, o)
	_, old := enabled(t, flat(fakehost.BMG()))
	for says, pf := range map[string]*xe.PF{
		"this GPU, or its firmware": unsupported, "this kernel's xe driver does not have the file": old,
	} {
		for name, err := range map[string]error{
			"save":    pf.Control(1).Save(t.Context(), io.Discard),
			"restore": pf.Control(1).Restore(t.Context(), strings.NewReader("")),
		} {
			if !errors.Is(err, bench.ErrNotAvailable) || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
