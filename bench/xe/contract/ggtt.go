package contract

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const (
	minGGTTSpare = 64 << 20
	pageSize     = 4 << 10
	vramAlign    = 2 << 20
	maxContexts  = 65535
	maxDoorbells = 256
	minContexts  = 256 // kept for the PF
)

// A span is a range of GGTT addresses.
type span struct{ start, size uint64 }

// ggttHoles reads the free ranges from ggtt_available, in the order of the file.
func (p *Probe) ggttHoles() ([]span, error) {
	text, err := p.Read("T/pf/ggtt_available")
	if err != nil {
		return nil, err
	}
	var list []span
	for l := range strings.Lines(text) {
		var from, last uint64
		if n, _ := fmt.Sscanf(l, "range:\t%v-%v\t", &from, &last); n == 2 {
			list = append(list, span{from, last + 1 - from})
		}
	}
	return list, nil
}

// takeGGTT takes the end of the highest hole that is large enough, as the driver does. The holes are
// ascending. It returns false if none is large enough.
func takeGGTT(holes []span, size uint64) (span, bool) {
	for i, h := range slices.Backward(holes) {
		if h.size >= size {
			holes[i].size -= size
			return span{h.start + h.size - size, size}, true
		}
	}
	return span{}, false
}

func largest(holes []span) uint64 {
	var n uint64
	for _, h := range holes {
		n = max(n, h.size)
	}
	return n
}

// ggttBeside returns how much of the largest hole fair shares can take: the spare is taken from the other
// holes first (xe_ggtt_largest_hole).
func (p *Probe) ggttBeside(spare uint64) uint64 {
	most := largest(p.ggttFree)
	others := total(p.ggttFree) - most
	return most - (max(spare, others) - others)
}

func total(holes []span) (n uint64) {
	for _, h := range holes {
		n += h.size
	}
	return n
}

// ggttShifts lists by how many bytes ranges in ggtt_provisioned may be above those in
// ggtt_available. Linux 7.3 prints the latter as offsets in its allocator, which begins after the
// firmware's WOPCM (xe_ggtt_print_holes, xe_ggtt_node_addr).
var ggttShifts = []uint64{0, 2 << 20, 4 << 20, 8 << 20}

// readsGGTT returns nil if ggtt_provisioned is the table that want returns for one of the shifts.
func (p *Probe) readsGGTT(want func(shift uint64) (string, error)) error {
	got, err := p.Read("T/pf/ggtt_provisioned")
	if err != nil {
		return err
	}
	var first string
	for _, shift := range ggttShifts {
		table, err := want(shift)
		if err != nil || table == got {
			return err
		}
		first = cmp.Or(first, table)
	}
	return fmt.Errorf("ggtt_provisioned reads %q, want %q, all ranges higher by 2, 4 or 8 MiB at most", got, first)
}

// ggttTable returns the content of ggtt_provisioned if VFs get these sizes on the idle PF, VF1
// first.
func (p *Probe) ggttTable(shift uint64, sizes ...uint64) (string, error) {
	holes := slices.SortedFunc(
		slices.Values(p.ggttFree), func(a, b span) int { return cmp.Compare(a.start, b.start) },
	)
	for i := range holes {
		holes[i].start += shift
	}
	var b strings.Builder
	for i, size := range sizes {
		s, ok := takeGGTT(holes, size)
		if !ok {
			return "", fmt.Errorf("no free range of %d bytes in %x", size, holes)
		}
		fmt.Fprintf(&b, "VF%d:\t%#x-%#x\t(%s)\n", i+1, s.start, s.start+s.size-1, sizeText(s.size))
	}
	return b.String(), nil
}

// sizeText formats a size as the kernel does, with three digits and a binary unit:
// string_get_size(…, STRING_UNITS_2).
func sizeText(size uint64) string {
	if size == 0 {
		return "0 B"
	}
	unit, rest := 0, uint64(0)
	for ; size >= 1<<32; unit++ {
		size /= 1024
	}
	for ; size >= 1024; unit++ {
		rest, size = size%1024, size/1024
	}
	decimals := 2 // three digits in total
	for n := size; n >= 10 && decimals > 0; n /= 10 {
		decimals--
	}
	thousandths := rest*1000/1024 + [...]uint64{500, 50, 5}[decimals]
	if thousandths >= 1000 {
		size, thousandths = size+1, thousandths-1000
	}
	text := strconv.FormatUint(size, 10)
	if decimals > 0 {
		text += fmt.Sprintf(".%03d", thousandths)[:decimals+1]
	}
	return text + " " + []string{"B", "KiB", "MiB", "GiB", "TiB"}[unit]
}
