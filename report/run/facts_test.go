package run

import (
	"slices"
	"testing"

	"vmtb/flow"
)

// historyOf returns a run with an environment, and with facts of guests.
func historyOf(environment []flow.Fact, guests ...[]flow.Fact) *History {
	h := New(flow.Info{Environment: environment})
	for _, facts := range guests {
		h.Add(flow.Entry{Event: flow.Log, Machine: "vm0", Facts: facts})
	}
	h.Finish()
	return h
}

func TestEnvironmentDifferences(t *testing.T) {
	before := historyOf(
		[]flow.Fact{
			{Name: "uname", Value: "Linux dut 7.2.13 #1 SMP x86_64"},
			{Name: "kernel", Value: "7.2.13"},
			{Name: "kernel version", Value: "#1"},
			{Name: "kernel build id", Value: "aa"},
			{Name: "xe build id", Value: "a1"},
			{Name: "qemu", Value: "10.0.2"},
			{Name: "iommu", Value: "dmar0"},
			{Name: "kernel debug options", Value: "none"},
			{Name: "pf", Value: "bmg"},
			{Name: "driver", Value: "xe of 7.2.13"},
		},
		[]flow.Fact{{Name: "kernel", Value: "7.2.13"}, {Name: "kernel version", Value: "#1"}},
	)
	now := historyOf(
		[]flow.Fact{
			{Name: "uname", Value: "Linux dut 7.3.4 #2 SMP x86_64"},
			{Name: "kernel", Value: "7.3.4"},
			{Name: "kernel version", Value: "#2"},
			{Name: "kernel build id", Value: "bb"},
			{Name: "kernel debug options", Value: "KASAN"},
			{Name: "pf", Value: "bmg, other firmware"},
			{Name: "iommu", Value: "dmar0"},
			{Name: "xe build id", Value: "b2"},
			{Name: "qemu", Value: "10.0.13"},
			{Name: "microcode", Value: "0x11"},
		},
		[]flow.Fact{{Name: "kernel", Value: "7.2.13"}, {Name: "kernel version", Value: "#5"}},
		[]flow.Fact{{Name: "kernel", Value: "7.2.13"}, {Name: "kernel version", Value: "#4"}},
		[]flow.Fact{{Name: "kernel", Value: "7.2.13"}, {Name: "kernel version", Value: "#5"}},
	)
	if host, guest := now.Fact("host kernel"), now.Fact("guest kernel version"); host != "7.3.4" || guest != "#4, #5" {
		t.Errorf("host kernel %q, guest kernel version %q", host, guest)
	}
	c := Compare(before, now)
	want := []Difference{
		{"host kernel", "7.2.13", "7.3.4"},
		{"host xe build id", "a1", "b2"},
		{"guest kernel version", "#1", "#4, #5"},
		{"qemu", "10.0.2", "10.0.13"},
		{"host kernel debug options", "none", "KASAN"},
		{"microcode", "", "0x11"},
		{"pf", "bmg", "bmg, other firmware"},
	}
	if !slices.Equal(c.Environment, want) {
		t.Errorf("%q\nwant %q", c.Environment, want)
	}
	const line = "host kernel 7.2.13 / 7.3.4; host xe build id a1 / b2; guest kernel version #1 / #4, #5; " +
		"qemu 10.0.2 / 10.0.13; host kernel debug options none / KASAN; pf bmg / bmg, other firmware; " +
		"only in this run: microcode"
	if got := c.EnvironmentLine(); got != line {
		t.Errorf("%s\nwant %s", got, line)
	}
	if got := Compare(now, now).EnvironmentLine(); got != "no difference known" {
		t.Error(got)
	}
}

// The kernel of a run by an older vmtb is known from its uname.
func TestEnvironmentOfOlderRun(t *testing.T) {
	old := historyOf([]flow.Fact{{Name: "uname", Value: "Linux dut 7.2.13 #1 SMP x86_64"}})
	now := historyOf([]flow.Fact{{Name: "kernel", Value: "7.3.4"}})
	if got := Compare(old, now).EnvironmentLine(); got != "host kernel 7.2.13 / 7.3.4" {
		t.Error(got)
	}
	if got := Compare(now, old).EnvironmentLine(); got != "host kernel 7.3.4 / 7.2.13" {
		t.Error(got)
	}
}

// A merged run has the environments of all its DUTs.
func TestEnvironmentOfMergedRun(t *testing.T) {
	merged := New(flow.Info{DUTs: []flow.DUT{
		{Name: "a", Environment: []flow.Fact{{Name: "kernel", Value: "7.3.4"}}},
		{Name: "b", Environment: []flow.Fact{{Name: "kernel", Value: "7.2.13"}}},
	}})
	merged.Finish()
	now := historyOf([]flow.Fact{{Name: "kernel", Value: "7.3.4"}})
	if got := Compare(merged, now).EnvironmentLine(); got != "host kernel 7.2.13, 7.3.4 / 7.3.4" {
		t.Error(got)
	}
}

// Facts that the environment already has are not listed again.
func TestMachineFacts(t *testing.T) {
	h := historyOf([]flow.Fact{{Name: "xe srcversion", Value: "A1"}}, []flow.Fact{{Name: "kernel", Value: "7.2.13"}})
	h.Add(flow.Entry{Event: flow.Log, Machine: flow.SourceHost, Facts: []flow.Fact{
		{Name: "xe srcversion", Value: "A1"}, {Name: "xe_vfio_pci srcversion", Value: "B2"},
	}})
	want := []flow.Fact{{Name: "guest kernel", Value: "7.2.13"}, {Name: "xe_vfio_pci srcversion", Value: "B2"}}
	if got := h.MachineFacts(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
