package host

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"vmtb/bench"
)

// A Taint is a set of reasons why a kernel is tainted, one bit for each
// (Documentation/admin-guide/tainted-kernels.rst).
type Taint uint64

// A TaintBit is one reason of a [Taint].
type TaintBit struct {
	Bit    int
	Letter string // the letter in an oops
	Reason string
}

var taintBits = []TaintBit{
	{0, "P", "proprietary module was loaded"},
	{1, "F", "module was force loaded"},
	{2, "S", "kernel running on an out of specification system"},
	{3, "R", "module was force unloaded"},
	{4, "M", "processor reported a Machine Check Exception (MCE)"},
	{5, "B", "bad page referenced or some unexpected page flags"},
	{6, "U", "taint requested by userspace application"},
	{7, "D", "kernel died recently, i.e. there was an OOPS or BUG"},
	{8, "A", "ACPI table overridden by user"},
	{9, "W", "kernel issued warning"},
	{10, "C", "staging driver was loaded"},
	{11, "I", "workaround for bug in platform firmware applied"},
	{12, "O", "externally-built (\"out-of-tree\") module was loaded"},
	{13, "E", "unsigned module was loaded"},
	{14, "L", "soft lockup occurred"},
	{15, "K", "kernel has been live patched"},
	{16, "X", "auxiliary taint, defined for and used by distros"},
	{17, "T", "kernel was built with the struct randomization plugin"},
	{18, "N", "an in-kernel test has been run"},
	{19, "J", "userspace used a mutating debug operation in fwctl"},
}

// Broken contains the taints that mean a failure: bad page, oops or BUG, warning, soft lockup,
// machine check, forced unload. The other taints describe the machine's software.
const Broken Taint = 1<<3 | 1<<4 | 1<<5 | 1<<7 | 1<<9 | 1<<14

// Bits returns the reasons in t, including those without a name in this package.
func (t Taint) Bits() []TaintBit {
	var bits []TaintBit
	for i := range 64 {
		switch {
		case t&(1<<i) == 0:
		case i < len(taintBits):
			bits = append(bits, taintBits[i])
		default:
			bits = append(bits, TaintBit{i, "?", "reason " + strconv.Itoa(i)})
		}
	}
	return bits
}

// String returns "not tainted", or the letters and reasons: "WO: kernel issued warning, ...".
func (t Taint) String() string {
	var letters strings.Builder
	var reasons []string
	for _, b := range t.Bits() {
		letters.WriteString(b.Letter)
		reasons = append(reasons, b.Reason)
	}
	if len(reasons) == 0 {
		return "not tainted"
	}
	return letters.String() + ": " + strings.Join(reasons, ", ")
}

// TaintOf reads the taint of a machine's kernel. The taints added between two readings are later &^
// earlier.
func TaintOf(ctx context.Context, m bench.Machine) (Taint, error) {
	const file = "/proc/sys/kernel/tainted"
	data, err := m.ReadFile(ctx, file)
	if err != nil {
		return 0, fmt.Errorf("%v: taint: %w", m, err)
	}
	t, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%v: %s: %w", m, file, err)
	}
	return Taint(t), nil
}
