package host_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"vmtb/bench"
	"vmtb/bench/host"
)

// A tainted machine has only the kernel's taint file.
type tainted struct {
	bench.Machine
	value string
}

func (m tainted) ReadFile(_ context.Context, path string) ([]byte, error) {
	if path != "/proc/sys/kernel/tainted" || m.value == "" {
		return nil, os.ErrNotExist
	}
	return []byte(m.value), nil
}

func (tainted) String() string { return "vm0" }

func TestTaint(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{"0\n", "not tainted"},
		{"512\n", "W: kernel issued warning"},
		{
			"4609\n",
			"PWO: proprietary module was loaded, kernel issued warning, externally-built (\"out-of-tree\") module " +
				"was loaded",
		},
		{"1073741824\n", "?: reason 30"},
		{"", "vm0: taint: file does not exist"},
		{"x", "vm0: /proc/sys/kernel/tainted: strconv"},
		{"-1", "vm0: /proc/sys/kernel/tainted: strconv"},
	} {
		got, err := host.TaintOf(t.Context(), tainted{value: c.value})
		if s := got.String(); err == nil && s != c.want || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q: %s, %v", c.value, s, err)
		}
	}
	if _, err := host.TaintOf(t.Context(), onThis()); err != nil {
		t.Error(err)
	}
	var letters strings.Builder
	for i, b := range host.Taint(1<<20 - 1).Bits() {
		if b.Bit != i {
			t.Errorf("bit %d at %d", b.Bit, i)
		}
		letters.WriteString(b.Letter)
	}
	if letters.String() != "PFSRMBUDAWCIOELKXTNJ" { // taint_flags in kernel/panic.c
		t.Error(letters.String())
	}
	if got := (host.Broken & (1<<12 | 1<<9)).String(); got != "W: kernel issued warning" {
		t.Error(got)
	}
}
