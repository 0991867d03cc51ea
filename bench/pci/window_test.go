package pci

import (
	"strings"
	"testing"
)

// vfBARs reads the kernel's text about the BARs of a PF and its seven VFs (PTL: 16 MiB each, and
// with local memory 256 MiB).
func TestVFBARs(t *testing.T) {
	const none = "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
	const pf = "0x00000000d0000000 0x00000000d0ffffff 0x000000000014220c\n"
	const bar0 = "0x0000004010000000 0x0000004016ffffff 0x0000000000142204\n"
	const bar2 = "0x0000004400000000 0x000000446fffffff 0x0000000000142204\n"
	const low = "0x00000000e0000000 0x00000000e000ffff 0x0000000000020200\n"
	head := pf + strings.Repeat(none, 6)
	for _, c := range []struct {
		text string
		want uint64
	}{
		{head + bar0 + strings.Repeat(none, 9), 16 << 20},
		{head + bar0 + none + bar2 + none + none + none, 272 << 20},
		{head + low + strings.Repeat(none, 5), 0},
		{head + strings.Repeat(none, 6) + bar0, 0}, // a bridge's window
		{pf, 0},
		{"", 0},
	} {
		if got, err := vfBARs(c.text, 7); err != nil || got != c.want {
			t.Errorf("%q: %d, %v, want %d", c.text, got, err, c.want)
		}
	}
	for _, bad := range []string{"x\n", "0x2 0x1 0x142204\n", "0x1 0x2\n"} {
		if _, err := vfBARs(head+bad, 7); err == nil || !strings.Contains(err.Error(), "line 8") {
			t.Errorf("%q: %v, want the line", bad, err)
		}
	}
}

func FuzzVFBARs(f *testing.F) {
	f.Add("0x0 0x0 0x0\n0x1 0x2 0x142204\n", uint64(7))
	f.Fuzz(func(t *testing.T, text string, total uint64) {
		_, _ = vfBARs(text, max(total, 1)) // must not panic
	})
}
