package xe_test

import (
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/xe"
	"vmtb/bench/xe/vgpu"
	"vmtb/internal/fake/fakehost"
)

// vfs returns two VFs that are bound to the host's driver. A guest's driver shows the same files.
func vfs(t *testing.T, o fakehost.Options) (setup, *xe.PF, *xe.VF) {
	t.Helper()
	s := newSetup(t, o)
	s.write(t, pfDir+"/sriov_numvfs", "2")
	v, err := xe.FindVF(t.Context(), host.New(s.Host), "0000:03:00.1")
	if err != nil {
		t.Fatal(err)
	}
	return s, s.find(t), v
}

// TestSelfConfig: the VF's driver reports the resources that the PF's driver gave to it.
func TestSelfConfig(t *testing.T) {
	for name, o := range map[string]fakehost.Options{
		"tree": fakehost.BMG(), "flat": flat(fakehost.BMG()), "one GT": oneGT(fakehost.BMG()),
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			_, pf, vf := vfs(t, o)
			want, err := pf.Quotas.ByGT(1)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := vf.ByGT(ctx); err != nil || !reflect.DeepEqual(got, want) || got[0].GGTT == 0 {
				t.Errorf("ByGT: %+v, %v; want %+v", got, err, want)
			}
			if c, err := vf.SelfConfig(ctx, vf.GTs[0]); err != nil || c.GGTTRange.Size() != want[0].GGTT {
				t.Errorf("SelfConfig: %+v, %v; want %+v", c, err, want)
			}
			if len(vf.GTs) != len(pf.GTs) || vf.GTs[len(vf.GTs)-1] != pf.GTs[len(pf.GTs)-1] {
				t.Errorf("GTs: %v, want %v", vf.GTs, pf.GTs)
			}
		})
	}
}

func TestResfixStoppers(t *testing.T) {
	ctx := t.Context()
	s, _, vf := vfs(t, fakehost.BMG())
	gt := vf.GTs[1]
	want := xe.StopBeforeFixups | xe.StopBeforeDone
	if err := vf.SetResfixStoppers(ctx, gt, want); err != nil {
		t.Fatal(err)
	}
	if got, err := vf.ResfixStoppers(ctx, gt); err != nil || got != 0xa {
		t.Errorf("ResfixStoppers: %#x, %v", got, err)
	}
	if got, err := vf.ResfixStoppers(ctx, vf.GTs[0]); err != nil || got != 0 {
		t.Errorf("ResfixStoppers of the other GT: %#x, %v", got, err)
	}
	s.Hook = func(_, _ string, _ bool) error { return syscall.EIO }
	isGuest(t, vf.SetResfixStoppers(ctx, gt, 0), syscall.EIO)
	_, _, old := vfs(t, flat(fakehost.BMG()))
	isGuest(t, old.SetResfixStoppers(ctx, gt, 0), bench.ErrNotAvailable)
}

func isGuest(t *testing.T, err, want error) {
	t.Helper()
	var ge *bench.GuestError
	if !errors.As(err, &ge) || !errors.Is(err, want) {
		t.Errorf("%v, want %v", err, want)
	}
}

// TestVFReset: the host notices an FLR from the guest's side.
func TestVFReset(t *testing.T) {
	ctx := t.Context()
	s, pf, vf := vfs(t, fakehost.BMG())
	if err := pf.Control(1).Pause(ctx); err != nil {
		t.Fatal(err)
	}
	if err := vf.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	if err := pf.Control(1).Pause(ctx); err != nil {
		t.Errorf("it was not reset: %v", err)
	}
	s.write(t, pfDir+"/sriov_numvfs", "0")
	isGuest(t, vf.Reset(ctx), syscall.ENOENT)
}

// A changed is a machine on which some files have other contents.
type changed struct {
	bench.Machine
	files map[string]string // by the end of the path
}

func (c changed) ReadFile(ctx context.Context, path string) ([]byte, error) {
	for end, text := range c.files {
		if strings.HasSuffix(path, end) {
			if text == "" {
				return nil, io.ErrUnexpectedEOF
			}
			return []byte(text), nil
		}
	}
	return c.Machine.ReadFile(ctx, path)
}

// A guest whose media GT has other numbers than the host gave differs from the host there.
func TestFewerOnOneGT(t *testing.T) {
	s, pf, _ := vfs(t, fakehost.BMG())
	fewer := map[string]string{"gt1/vf/self_config": "GuC contexts:\t1\nGuC doorbells:\t2\n"}
	vf, err := xe.FindVF(t.Context(), changed{host.New(s.Host), fewer}, "0000:03:00.1")
	if err != nil {
		t.Fatal(err)
	}
	given, err := pf.Quotas.ByGT(1)
	if err != nil {
		t.Fatal(err)
	}
	got, err := vf.ByGT(t.Context())
	if err != nil || got[0] != given[0] || got[1] != (vgpu.Resources{Contexts: 1, Doorbells: 2}) || got[1] == given[1] {
		t.Errorf("ByGT: %+v, %v; the host gave %+v", got, err, given)
	}
}

func TestVFRefused(t *testing.T) {
	ctx := t.Context()
	s, _, _ := vfs(t, fakehost.BMG())
	m := host.New(s.Host)
	_, err := xe.FindVF(ctx, m, "0000:99:00.0")
	isGuest(t, err, syscall.ENOENT)
	s.write(t, pfDir+"/virtfn0/driver/unbind", "0000:03:00.1")
	if _, err = xe.FindVF(ctx, m, "0000:03:00.1"); err == nil ||
		!strings.Contains(err.Error(), "is the xe driver bound to the VF?") {
		t.Errorf("FindVF without a driver: %v", err)
	}
	for text, says := range map[string]string{
		"GuC contexts:\t1\n": `gt1/vf/self_config: no "GuC doorbells"`,
		"":                   "unexpected EOF",
	} {
		vf, err := xe.FindVF(ctx, changed{m, map[string]string{"gt1/vf/self_config": text}}, "0000:03:00.2")
		if err != nil {
			t.Fatal(err)
		}
		if r, err := vf.ByGT(ctx); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("ByGT: %+v, %v; want %s", r, err, says)
		}
	}
	vf, err := xe.FindVF(ctx, changed{m, map[string]string{"resfix_stoppers": "0x01"}}, "0000:03:00.2")
	if err != nil {
		t.Fatal(err)
	}
	if err := vf.SetResfixStoppers(ctx, vf.GTs[0], 2); err == nil ||
		!strings.Contains(err.Error(), "the file then reads 0x1, not 0x2") {
		t.Errorf("SetResfixStoppers: %v", err)
	}
}
