package assigned_test

import (
	"context"
	"testing"

	"vmtb/bench/host"
	"vmtb/bench/undo"
	"vmtb/bench/vm"
	"vmtb/bench/vm/assigned"
	"vmtb/bench/xe"
	"vmtb/internal/fake/fakehost"
)

type noJournal struct{}

func (noJournal) Do(_ context.Context, _ undo.Record, change func() error) error { return change() }

// The driver reports whether a VF can be migrated, and the PF reports the size of its state.
func TestVF(t *testing.T) {
	for name, c := range map[string]struct {
		noMigration bool
		driver      string
		want        vm.VF
	}{
		"vendor's": {false, "xe-vfio-pci", vm.VF{Host: "0000:03:00.2", EnableMigration: true, StateMiB: 1}},
		"plain":    {false, "vfio-pci", vm.VF{Host: "0000:03:00.2", StateMiB: 1}},
		"no state": {true, "xe-vfio-pci", vm.VF{Host: "0000:03:00.2", EnableMigration: true}},
	} {
		o := fakehost.BMG()
		o.Loaded, o.NoMigration = []string{"xe"}, c.noMigration
		pf, err := xe.FindPF(host.New(fakehost.New(o)).Tree(noJournal{}), xe.Selector{})
		if err != nil {
			t.Fatal(err)
		}
		vfs, err := pf.EnableVFs(t.Context(), 2)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := assigned.VF(pf, 2, vfs[1], c.driver); err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
	}
}
