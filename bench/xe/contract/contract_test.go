package contract_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"vmtb/bench/pci"
	"vmtb/bench/undo"
	"vmtb/bench/xe/contract"
	"vmtb/internal/fake/fakehost"
)

// A fake is a fake host as a [contract.System].
type fake struct{ *fakehost.Host }

func (f fake) Open(path string, flag int) (contract.File, error) { return f.Host.Open(path, flag) }

func (f fake) OpenVFIO(group int, address string) (contract.VFIODevice, error) {
	d, err := f.Host.OpenVFIO(group, address)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// A journal is an undo journal in memory.
type journal struct {
	mu      sync.Mutex
	records []undo.Record
}

func (j *journal) Do(_ context.Context, r undo.Record, change func() error) error {
	j.mu.Lock()
	j.records = append(j.records, r)
	j.mu.Unlock()
	return change()
}

// undo undoes the journal, as a later process would.
func (j *journal) undo(t *testing.T, sys undo.System) {
	t.Helper()
	for _, r := range slices.Backward(j.records) {
		if err := r.Undo(context.Background(), sys); err != nil {
			t.Errorf("undo %v: %v", r, err)
		}
	}
}

// devices returns all kinds of devices and layouts, by the name of a subtest.
func devices() map[string]fakehost.Options {
	return map[string]fakehost.Options{
		"bmg":         device(fakehost.BMG(), func(*fakehost.Options) {}),
		"ptl":         device(fakehost.PTL(), func(*fakehost.Options) {}),
		"bmg flat":    device(fakehost.BMG(), func(o *fakehost.Options) { o.Flat = true }),
		"ptl flat":    device(fakehost.PTL(), func(o *fakehost.Options) { o.Flat = true }),
		"one GT":      device(fakehost.PTL(), func(o *fakehost.Options) { o.GTs = 1 }),
		"one GT flat": device(fakehost.BMG(), func(o *fakehost.Options) { o.GTs, o.Flat = 1, true }),
		"24 VFs":      device(fakehost.BMG(), func(o *fakehost.Options) { o.TotalVFs, o.VRAMQuota = 24, true }),
		"1 VF": device(fakehost.PTL(), func(o *fakehost.Options) {
			o.TotalVFs, o.NoMigration = 1, true
		}),
		"unsupported": device(fakehost.BMG(), func(o *fakehost.Options) { o.NoMigration = true }),
	}
}

func device(o fakehost.Options, change func(*fakehost.Options)) fakehost.Options {
	o.TotalVFs, o.Loaded = 7, []string{"xe", "xe_vfio_pci"}
	change(&o)
	return o
}

func newProbe(t *testing.T, h *fakehost.Host, o fakehost.Options) (*contract.Probe, *journal) {
	t.Helper()
	j := &journal{}
	name := fmt.Sprintf("0000:%02x:%02x.0", o.Bus, o.Slot)
	p, err := contract.NewProbe(fake{h}, j, pci.Address(name))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p, j
}

// TestFake: the fake host keeps the contract. Each rule passes on every device that meets its
// needs. Afterwards the host is as before, if the rule undoes its changes, and also if the program
// dies and a later process undoes them.
func TestFake(t *testing.T) {
	var checked sync.Map
	t.Run("devices", func(t *testing.T) {
		for name, o := range devices() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { // some rules wait for the kernel
					h := fakehost.New(o)
					before := h.Snapshot()
					p, j := newProbe(t, h, o)
					for _, s := range contract.Sections() {
						for _, r := range s.Rules {
							if p.Unmet(r) == "" && r.Crashes == "" {
								tryRule(t, h, before, p, j, r, name == "bmg" || name == "ptl flat")
								checked.Store(r.ID, true)
							}
						}
					}
				})
			})
		}
	})
	for _, s := range contract.Sections() {
		for _, r := range s.Rules {
			if _, ok := checked.Load(r.ID); !ok && r.Crashes == "" { // TestCrashes has these
				t.Errorf("rule %s was checked on no device", r.ID)
			}
		}
	}
}

func tryRule(
	t *testing.T, h *fakehost.Host, before fakehost.Snapshot, p *contract.Probe, j *journal, r contract.Rule,
	crash bool,
) {
	t.Helper()
	settled := h.Snapshot()
	if err := r.Run(t.Context(), p); err != nil {
		t.Errorf("%s: %v", r.ID, err)
	}
	if h.Oopses != nil {
		t.Fatalf("%s: the kernel has oopsed in %v", r.ID, h.Oopses)
	}
	if crash {
		dead := h.FromSnapshot(h.Snapshot())
		j.undo(t, dead)
		if dead.Snapshot() != before {
			t.Errorf(
				"%s: after a crash the host is not restored (-want +got):\n%s", r.ID,
				cmp.Diff(h.FromSnapshot(before).Dump(), dead.Dump()),
			)
		}
	}
	if err := p.Restore(t.Context()); err != nil {
		t.Errorf("%s: restore: %v", r.ID, err)
	}
	if h.Snapshot() != settled {
		t.Fatalf(
			"%s: after it the host is not restored (-want +got):\n%s", r.ID,
			cmp.Diff(h.FromSnapshot(settled).Dump(), h.Dump()),
		)
	}
}

// TestCrashes: exactly the rules that crash kernels are marked, and each mark names the kernel
// function.
func TestCrashes(t *testing.T) {
	crashes := 0
	for _, noMigration := range []bool{false, true} {
		for _, s := range contract.Sections() {
			for _, r := range s.Rules {
				o := device(fakehost.BMG(), func(o *fakehost.Options) { o.NoMigration = noMigration })
				h := fakehost.New(o)
				p, _ := newProbe(t, h, o)
				if r.Crashes == "" || p.Unmet(r) != "" {
					continue
				}
				_ = r.Run(t.Context(), p) // any answer of a dead kernel will do
				if len(h.Oopses) == 0 || !strings.Contains(r.Crashes, h.Oopses[0]) {
					t.Errorf("%s: the kernel oopsed in %v, the rule says %q", r.ID, h.Oopses, r.Crashes)
				}
				crashes++
			}
		}
	}
	if crashes != 2 {
		t.Errorf("%d rules that crash kernels", crashes)
	}
}

// A noStoppers is a host whose kernel lacks CONFIG_DRM_XE_DEBUG.
type noStoppers struct{ fake }

func (f noStoppers) Stat(p string) (fs.FileInfo, error) {
	if strings.HasSuffix(p, "/resfix_stoppers") {
		return nil, &fs.PathError{Op: "lstat", Path: p, Err: fs.ErrNotExist}
	}
	return f.fake.Stat(p)
}

// TestMissing: if the kernel lacks a need of a rule, and only the running rule finds this out, then
// the rule returns a MissingError. It does not fail.
func TestMissing(t *testing.T) {
	for _, id := range []string{"stoppers_text", "recovery_stages"} {
		h := noStoppers{fake{fakehost.New(device(fakehost.BMG(), func(*fakehost.Options) {}))}}
		p, err := contract.NewProbe(h, &journal{}, "0000:03:00.0")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		err = ruleNamed(t, id).Run(t.Context(), p)
		if missing, ok := errors.AsType[*contract.MissingError](err); !ok ||
			!strings.Contains(missing.Error(), "needs resfix_stoppers") {
			t.Errorf("%s: %v", id, err)
		}
	}
}

var update = flag.Bool("update", false, "write docs/xe-contract.md anew")

// TestDocs: the table in docs/ is the table of this package.
func TestDocs(t *testing.T) {
	const file = "../../../docs/xe-contract.md"
	var b bytes.Buffer
	if err := contract.WriteMarkdown(&b, contract.Sections()); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	now, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(now), b.String()); diff != "" {
		t.Errorf("%s is not the table of rules: go test ./bench/xe/contract -update (-file +table):\n%s", file, diff)
	}
}

// TestRules: each rule has a unique id that suits a case, a text, and something that it checks.
func TestRules(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range contract.Sections() {
		for _, r := range s.Rules {
			if r.ID == "" || seen[r.ID] ||
				strings.ContainsFunc(r.ID, func(c rune) bool {
					return c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9')
				}) {
				t.Errorf("%s: bad or repeated id %q", s.Name, r.ID)
			}
			seen[r.ID] = true
			if r.Doc == "" || len(r.Steps) == 0 && r.Check == nil {
				t.Errorf("%s says or checks nothing", r.ID)
			}
		}
	}
}
