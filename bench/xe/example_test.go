package xe_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"vmtb/bench/host"
	"vmtb/bench/undo"
	"vmtb/bench/xe"
	"vmtb/bench/xe/vgpu"
	"vmtb/internal/fake/fakehost"
)

// Example goes from a host without drivers to two VFs for QEMU, and back. On a real host, use
// host.OS{} in place of the fake.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "vmtb")
	check(err)
	defer func() { check(os.RemoveAll(dir)) }()

	journal, err := undo.Open(filepath.Join(dir, "undo.jsonl"))
	check(err)
	h := host.New(fakehost.New(fakehost.BMG()))
	mark := journal.Mark()

	vfio, err := h.LoadDrivers(ctx, journal, "xe")
	check(err)
	check(h.CheckIOMMU())
	pf, err := xe.FindPF(h.Tree(journal), xe.Card(1)) // or xe.Selector{}: the only GPU
	check(err)

	ids, err := pf.IDs()
	check(err)
	model, err := vgpu.LoadModel(ids.Device, nil, vgpu.Files())
	check(err)
	plan, note, err := model.Plan(2, vgpu.DefaultProfile) // or plan := vgpu.Auto(2)
	check(err)
	fmt.Println(note)

	check(pf.Provision(ctx, plan))
	vfs, err := pf.EnableVFs(ctx, plan.VFs)
	check(err)
	for i, vf := range vfs {
		check(vf.Bind(ctx, vfio))
		quota, err := pf.Quotas.Of(i + 1)
		check(err)
		fmt.Println(vf.Address, vf.Driver(), quota.Doorbells, "doorbells", plan.Scheduling.VF)
	}

	// Tear-down has its own deadline: context.WithTimeout(context.WithoutCancel(ctx), ...).
	check(journal.UndoTo(ctx, h.System, mark))
	fmt.Println(len(journal.Pending()), "changes left,", "xe loaded:", h.ModuleLoaded("xe"))

	// Output:
	// vGPU profile Bmg_6: made for 2 VFs
	// 0000:03:00.1 xe-vfio-pci 120 doorbells EQ 16 ms, PT 32000 us
	// 0000:03:00.2 xe-vfio-pci 120 doorbells EQ 16 ms, PT 32000 us
	// 0 changes left, xe loaded: false
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
