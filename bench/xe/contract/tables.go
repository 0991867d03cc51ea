package contract

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func splitLines(text string) []string { return slices.Collect(strings.Lines(text)) }

var tableRules = []Rule{
	{
		ID: "tables_empty", Doc: "Tables of the VFs' resources are empty if VFs have none.",
		Steps: []Step{
			read("", "T/pf/ggtt_provisioned"),
			read("", under("G/pf/", "contexts_provisioned", "doorbells_provisioned")...),
		}, Check: checkNoEvents,
	},
	{
		ID: "size_text", Doc: "A size in parentheses has three digits and a binary unit, rounded half up.",
		Needs: []Need{smallPages}, Check: checkSizeText,
	},
	{
		ID: "ggtt_available",
		Doc: "ggtt_available lists the free ranges, in any order, then their total, the spare, and the total without " +
			"the spare.",
		Check: checkAvailable,
	},
	{
		ID: "ggtt_available_less", Doc: "ggtt_available does not list the GGTT of VFs.",
		Steps: []Step{write("T/vf1/ggtt_quota", "1073741824")}, Check: checkAvailable,
	},
	{
		ID: "ids_text",
		Doc: "The tables of contexts and doorbells have the first and last id, and the count. They omit VFs " +
			"without any.",
		Needs: []Need{vfs(2)},
		Steps: []Step{
			write("G/vf2/contexts_quota", "1"), write("G/vf2/doorbells_quota", "2"),
			read("VF2:\t65534-65534\t(1)", "G/pf/contexts_provisioned"),
			read("VF2:\t0-1\t(2)", "G/pf/doorbells_provisioned"),
		},
	},
	{
		ID: "vram_text", Doc: "The table of VRAM has bytes, and the same size in three digits.",
		Needs: []Need{discrete, vfs(2)},
		Steps: []Step{
			write("T/vf2/vram_quota", "2097152"), read("VF2:\t2097152\t(2.00 MiB)", "T/pf/vram_provisioned"),
			write("T/vf1/vram_quota", "132120576"),
			read("VF1:\t132120576\t(126 MiB)\nVF2:\t2097152\t(2.00 MiB)", "T/pf/vram_provisioned"),
		},
	},
	{
		ID:    "runtime_registers",
		Doc:   "runtime_registers lists the registers that VFs ask the PF for, those of Xe2 and Xe3.",
		Check: checkRuntimeRegisters,
	},
}

var someEvents = regexp.MustCompile(`:[1-9]`)

// checkNoEvents checks adverse_events. Kernels with CONFIG_DRM_XE_DEBUG_SRIOV also list VFs without
// any event.
func checkNoEvents(_ context.Context, p *Probe) error {
	for _, file := range p.each("G/pf/adverse_events") {
		if text, err := p.Read(file); err != nil || someEvents.MatchString(text) {
			return differs(err, "%s reads %q, want no event", file, text)
		}
	}
	return nil
}

func checkSizeText(ctx context.Context, p *Probe) error {
	for _, c := range []struct {
		size uint64
		text string
	}{
		{4096, "4.00 KiB"},
		{12288, "12.0 KiB"},
		{65536, "64.0 KiB"},
		{1044480, "1020 KiB"},
		{1048576, "1.00 MiB"},
		{1933312, "1.84 MiB"},
		{2093056, "2.00 MiB"},
		{67108864, "64.0 MiB"},
		{536870912, "512 MiB"},
		{1072693248, "1023 MiB"},
		{1073741824, "1.00 GiB"},
		{2013265920, "1.88 GiB"},
	} {
		if err := p.Refuses(ctx, 0, "T/vf1/ggtt_quota", strconv.FormatUint(c.size, 10)); err != nil {
			return err
		}
		text, err := p.Read("T/pf/ggtt_provisioned")
		if err != nil || !strings.HasPrefix(text, "VF1:\t0x") || !strings.HasSuffix(text, "\t("+c.text+")\n") {
			return differs(err, "for %d bytes ggtt_provisioned has %q, want (%s)", c.size, text, c.text)
		}
	}
	return nil
}

// checkAvailable formats the text again from the ranges in it, and compares.
func checkAvailable(ctx context.Context, p *Probe) error {
	holes, err := p.ggttHoles()
	if err != nil {
		return err
	}
	given, err := p.uint("T/vf1/ggtt_quota")
	if err != nil {
		return err
	}
	all, spare := total(holes), p.ggttSpare
	if all+given != total(p.ggttFree) {
		return fmt.Errorf(
			"ggtt_available has %d bytes and VF1 has %d: want a sum of %d", all, given, total(p.ggttFree),
		)
	}
	var b strings.Builder
	for _, h := range holes {
		fmt.Fprintf(&b, "range:\t%#x-%#x\t(%s)\n", h.start, h.start+h.size-1, sizeText(h.size))
	}
	for _, n := range []struct {
		name string
		n    uint64
	}{{"total", all}, {"spare", spare}, {"avail", all - min(all, spare)}} {
		fmt.Fprintf(&b, "%s:\t%d\t(%s)\n", n.name, n.n, sizeText(n.n))
	}
	return p.Reads("T/pf/ggtt_available", b.String())
}

// runtimeRegisters has the registers of the known graphics generations with SR-IOV, by PCI device
// id.
var runtimeRegisters = map[uint64][]uint64{
	0xe20b: xe2Registers,
	0xe212: xe2Registers,
	0xb080: {
		0xd00, 0x9114, 0x9118, 0x911c, 0x9130, 0x9134, 0x913c, 0x9140, 0x9144, 0x9148, 0x914c, 0x9150, 0x9154, 0xc1dc,
	},
}

var xe2Registers = []uint64{
	0xd00, 0x9114, 0x9118, 0x911c, 0x9134, 0x913c, 0x9140, 0x9144, 0x9148, 0x914c, 0x9150, 0x9154, 0xc1dc,
}

func checkRuntimeRegisters(_ context.Context, p *Probe) error {
	device, err := p.uint("P/device")
	if err != nil {
		return err
	}
	for _, file := range p.each("G/pf/runtime_registers") {
		text, err := p.Read(file)
		if err != nil {
			return err
		}
		var addresses []uint64
		for l := range strings.Lines(text) {
			var address, value uint64
			if n, _ := fmt.Sscanf(l, "reg[%v] = %v\n", &address, &value); n != 2 ||
				l != fmt.Sprintf("reg[%#x] = %#x\n", address, value) {
				return fmt.Errorf("%s: %q is not of the form reg[%%#x] = %%#x", file, l)
			}
			addresses = append(addresses, address)
		}
		if want := runtimeRegisters[device]; want != nil && file[1] == '0' && !slices.Equal(addresses, want) {
			return fmt.Errorf("%s lists %#x, want %#x", file, addresses, want)
		}
	}
	return nil
}
