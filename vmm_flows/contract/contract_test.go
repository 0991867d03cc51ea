package contract

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"

	"vmtb/bench/undo"
	rules "vmtb/bench/xe/contract"
	"vmtb/flow"
	"vmtb/internal/fake/fakehost"
)

func TestRegister(t *testing.T) {
	r := flow.NewRegistry()
	Register(r)
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, s := range rules.Sections() {
		want += len(s.Rules)
	}
	if items := r.Items(); len(items) != want || items[0].ID.String() != "xe_contract::TestPci::test_pf_files" {
		t.Errorf("%d items from %v, want %d", len(items), items[0].ID, want)
	}
}

// TestByName: only a selection by name contains a rule that crashes kernels.
func TestByName(t *testing.T) {
	r := flow.NewRegistry()
	Register(r)
	for _, patterns := range [][]string{
		nil, {"xe_contract"}, {"xe_contract::TestMigration"}, {"*stream*"}, {"vmm_flows/"},
	} {
		items, _, err := r.Select(patterns)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range items {
			if it.ByName {
				t.Errorf("%q selects %s", patterns, it.Name)
			}
		}
	}
	for _, pattern := range []string{
		"test_stream_version", "xe_contract::TestMigration::test_unsupported_save",
		"TestMigration::test_stream_version",
	} {
		if items, _, err := r.Select([]string{pattern}); err != nil || len(items) != 1 || !items[0].ByName {
			t.Errorf("%s selects %d, %v", pattern, len(items), err)
		}
	}
	if _, _, err := r.Select([]string{"*unsupported_s*"}); err == nil ||
		!strings.Contains(err.Error(), "runs only if its whole name is given") {
		t.Errorf("a wildcard for it alone: %v", err)
	}
}

type fake struct{ *fakehost.Host }

func (f fake) Open(path string, flag int) (rules.File, error) { return f.Host.Open(path, flag) }

func (f fake) OpenVFIO(group int, address string) (rules.VFIODevice, error) {
	d, err := f.Host.OpenVFIO(group, address)
	if err != nil {
		return nil, err
	}
	return d, nil
}

type noJournal struct{}

func (noJournal) Do(_ context.Context, _ undo.Record, change func() error) error { return change() }

// TestDestructive: a rule that harms a machine in use is skipped with a reason, unless it is
// allowed.
func TestDestructive(t *testing.T) {
	o := fakehost.BMG()
	o.Loaded = []string{"xe"}
	p, err := rules.NewProbe(fake{fakehost.New(o)}, noJournal{}, "0000:03:00.0")
	if err != nil {
		t.Fatal(err)
	}
	seen, crashes := 0, 0
	for _, s := range rules.Sections() {
		for _, r := range s.Rules {
			if p.Unmet(r) != "" {
				continue
			}
			if reason := (&setup{probe: p, harmful: true, crash: true}).unmet(r); reason != "" {
				t.Errorf("%s, allowed: skipped: %s", r.ID, reason)
			}
			if reason := (&setup{probe: p, harmful: true}).unmet(r); (reason != "") != (r.Crashes != "") ||
				reason != "" && !strings.Contains(reason, "oopses in xe_") {
				t.Errorf("%s (crashes: %q), destruction allowed by the configuration only: %q", r.ID, r.Crashes, reason)
			}
			if r.Crashes != "" {
				crashes++
				continue
			}
			reason := (&setup{probe: p}).unmet(r)
			if (reason != "") != (r.Destructive != "") ||
				reason != "" && !strings.Contains(reason, "allow_destructive") {
				t.Errorf("%s (destructive: %q): %q", r.ID, r.Destructive, reason)
			}
			if reason != "" {
				seen++
			}
		}
	}
	if crashes == 0 {
		t.Error("no rule that crashes kernels")
	}
	if seen < 5 {
		t.Errorf("only %d destructive rules", seen)
	}
}

// Messages of the driver about a refused request are allowed. Messages about a wedged or reset
// device are not.
func TestRefusals(t *testing.T) {
	for text, want := range map[string]bool{
		"xe 0000:03:00.0: [drm] GT0: PF: Failed to provision VF1 with 1 (1 B) GGTT (-ENOSPC)":            true,
		"xe 0000:03:00.0: [drm] *ERROR* Tile0: GT0: PF: VF1 control command PAUSE failed (-EIO)":         true,
		"xe 0000:03:00.0: [drm] *ERROR* Tile0: GT0: H2G request 0x5503 failed: error 0x4000 hint 0x0":    true,
		"xe 10000:e1:00.0: [drm] PF: Failed to enable 4 VFs (-ENOMEM)":                                   true,
		"xe-vfio-pci 0000:03:00.1: Failed to prepare FLR: -114":                                          true,
		"xe 0000:03:00.0: [drm] *ERROR* CRITICAL: Xe has declared device 0000:03:00.0 as wedged.":        false,
		"xe 0000:03:00.0: [drm] *ERROR* GT0: reset failed (-ETIMEDOUT)":                                  false,
		"xe 0000:03:00.0: [drm] GT0: Engine reset: engine_class=rcs, logical_mask: 0x1, guc_id=5":        false,
		"BUG: kernel NULL pointer dereference, address: 0000000000000008":                                false,
		"WARNING: drivers/gpu/drm/xe/xe_sriov_packet.c:324 at xe_sriov_packet_write+0x1/0x2 [xe], CPU#0": false,
	} {
		got := slices.ContainsFunc(refusals, func(re string) bool { return regexp.MustCompile(re).MatchString(text) })
		if got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
