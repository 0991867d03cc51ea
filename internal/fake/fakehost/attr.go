package fakehost

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// attributes implements the files of a provisioner, in debugfs and in sysfs' sriov_admin.
type attributes struct {
	*provisioner
	ctl       *controller
	migration *migration
}

// number returns a numeric debugfs attribute of class xe. It reads as %llu. A written value is
// parsed as u64, and then checked for its range. A write makes the provisioning custom (since
// 6.19).
func (a *attributes) number(most uint64, get func() uint64, set func(uint64) error) node {
	return node{mode: 0o644, read: decimal(get), write: func(text string) error {
		v, err := parseUint(text, 64)
		if err == nil && v > most {
			err = syscall.EOVERFLOW
		}
		if err == nil {
			err = set(v)
		}
		if err == nil && !a.o.Flat {
			a.s.Custom = true
		}
		return err
	}}
}

func decimal(get func() uint64) func() (string, error) {
	return func() (string, error) { return fmt.Sprintf("%d\n", get()), nil }
}

// parseUint is the kernel's kstrtou64_from_user. It reads 23 bytes, and accepts a + and one
// newline.
func parseUint(text string, bits int) (uint64, error) {
	return parseLine(text[:min(len(text), 23)], bits)
}

// parseLine is kstrtoul, which reads the whole text.
func parseLine(text string, bits int) (uint64, error) {
	text = strings.TrimSuffix(text, "\n")
	text = strings.TrimPrefix(text, "+")
	lower := strings.ToLower(text)
	if strings.HasPrefix(text, "+") || strings.Contains(text, "_") || strings.HasPrefix(lower, "0b") ||
		strings.HasPrefix(lower, "0o") {
		return 0, syscall.EINVAL // forms that only Go accepts
	}
	v, err := strconv.ParseUint(text, 0, bits)
	if errors.Is(err, strconv.ErrRange) {
		return 0, syscall.ERANGE
	}
	if err != nil {
		return 0, syscall.EINVAL
	}
	return v, nil
}

// in returns the file of a 32-bit number in a map.
func (a *attributes) in(m map[string]uint64, name string) node {
	return a.number(math.MaxUint32, func() uint64 { return m[name] }, func(v uint64) error {
		set(m, name, v)
		return nil
	})
}

// slice returns the file of a time slice in a map.
func (a *attributes) slice(m map[string]uint64, name string) node {
	return a.number(math.MaxUint32, func() uint64 { return m[name] }, func(v uint64) error {
		set(m, name, min(v, clamps[name]))
		return nil
	})
}

var clamps = map[string]uint64{"exec_quantum_ms": 100_000, "preempt_timeout_us": 100_000_000}

func (a *attributes) priority(fn, g int) node {
	m := a.s.Functions[fn].GTs[g].Numbers
	return a.number(math.MaxUint32, func() uint64 { return m["sched_priority"] }, func(v uint64) error {
		if fn > 0 || v > 2 {
			return syscall.EIO // refused by the firmware
		}
		set(m, "sched_priority", v)
		return nil
	})
}

// flag returns the file of a boolean policy of a GT.
func (a *attributes) flag(g int, name string) node {
	m := a.s.GTs[g].Numbers
	return a.number(1, func() uint64 { return m[name] }, func(v uint64) error {
		set(m, name, v)
		if name == "sched_if_idle" {
			a.setIdle(g, v)
		}
		return nil
	})
}

// spare returns a file *_spare. Its value is 0, or at least the minimum.
func (a *attributes) spare(least, most, align uint64, at func() uint64, store func(uint64)) node {
	limit := uint64(math.MaxUint64)
	if most < math.MaxUint32 {
		limit = math.MaxUint32
	}
	return a.number(limit, func() uint64 { return max(at(), least) }, func(v uint64) error {
		if v > most || v != 0 && v < least {
			return syscall.EINVAL
		}
		if v == least {
			v = 0 // 0 also means the minimum: equal states must have equal snapshots
		}
		store(roundUp(v, align))
		return nil
	})
}

// common reads a value that sysfs shows for all GTs together.
func (a *attributes) common(fn int, name string) (uint64, error) {
	gts := a.s.Functions[fn].GTs
	v := gts[0].Numbers[name]
	for _, g := range gts[1:] {
		if g.Numbers[name] != v {
			return 0, syscall.EUCLEAN
		}
	}
	return v, nil
}

// admin returns a file of sriov_admin for the given functions. A write does not change the mode.
func (a *attributes) admin(name string, fns ...int) node {
	n := node{mode: 0o644, read: func() (string, error) {
		v, err := a.common(fns[0], name)
		return fmt.Sprintf("%d\n", v), err
	}, write: func(text string) error {
		v, err := parseLine(text, 32)
		if err != nil {
			return err
		}
		for _, fn := range fns {
			for g := range a.s.GTs {
				set(a.s.Functions[fn].GTs[g].Numbers, name, min(v, clamps[name]))
			}
		}
		return nil
	}}
	if len(fns) > 1 {
		n.mode, n.read = 0o200, nil
	}
	return n
}

// adminVRAM returns vram_quota of one VF, or of all. A write does not change the mode.
func (a *attributes) adminVRAM(fns ...int) node {
	read := decimal(func() uint64 { return a.s.Functions[fns[0]].VRAM })
	n := node{mode: 0o644, read: read, write: func(text string) error {
		v, err := parseLine(text, 64)
		if err != nil {
			return err
		}
		for _, fn := range fns {
			if err := a.setVRAM(fn, v); err != nil {
				return err
			}
		}
		return nil
	}}
	if len(fns) > 1 {
		n.mode, n.read = 0o200, nil
	}
	return n
}

var priorities = []string{"low", "normal", "high"}

// adminPriority returns sched_priority of one function.
func (a *attributes) adminPriority(fn int) node {
	offered := priorities
	n := node{mode: 0o644}
	if fn > 0 {
		offered, n.mode = priorities[:2], 0o444
	}
	n.read = func() (string, error) {
		v, err := a.common(fn, "sched_priority")
		words := slices.Clone(offered)
		words[v] = "[" + words[v] + "]"
		return strings.Join(words, " ") + "\n", err
	}
	n.write = func(text string) error {
		v := slices.Index(priorities, strings.TrimSuffix(text, "\n"))
		if v < 0 {
			return syscall.EINVAL
		}
		for g := range a.s.GTs {
			set(a.s.Functions[fn].GTs[g].Numbers, "sched_priority", uint64(v))
		}
		return nil
	}
	return n
}

func (a *attributes) bulkPriority() node {
	return node{mode: 0o200, write: func(text string) error {
		v := slices.Index(priorities[:2], strings.TrimSuffix(text, "\n"))
		if v < 0 {
			return syscall.EINVAL
		}
		for g := range a.s.GTs {
			a.setIdle(g, uint64(v))
		}
		return nil
	}}
}

func (a *attributes) restoreAuto() node {
	return node{mode: 0o200, write: func(text string) error {
		on, ok := kernelBool(text)
		switch {
		case !ok:
			return syscall.EINVAL
		case !on || !a.s.Custom:
			return nil
		case a.s.NumVFs > 0:
			return syscall.EBUSY
		}
		a.release(a.o.TotalVFs)
		a.s.Custom = false
		return nil
	}, read: func() (string, error) { return "", nil }}
}

// size formats bytes in three digits, as the kernel's string_get_size(STRING_UNITS_2).
func size(v uint64) string {
	if v == 0 {
		return "0 B"
	}
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i, r := 0, uint64(0)
	for ; v >= 1<<32; i++ {
		v /= 1024
	}
	for ; v >= 1024; i++ {
		r, v = v%1024, v/1024
	}
	digits := 0
	for c := v; c*10 < 1000; digits++ {
		c *= 10
	}
	r = r*1000>>10 + []uint64{500, 50, 5}[digits]
	if r >= 1000 {
		r, v = r-1000, v+1
	}
	fraction := ""
	if digits > 0 {
		fraction = fmt.Sprintf(".%03d", r)[:digits+1]
	}
	return fmt.Sprintf("%d%s %s", v, fraction, units[i])
}

func (a *attributes) ggttAvailable() (string, error) {
	var b strings.Builder
	var free uint64
	for _, s := range a.shownHoles(-1) {
		fmt.Fprintf(&b, "range:\t%#x-%#x\t(%s)\n", s.Start, s.end()-1, size(s.Size))
		free += s.Size
	}
	avail := free - min(free, a.ggttSpare())
	fmt.Fprintf(&b, "total:\t%d\t(%s)\nspare:\t%d\t(%s)\navail:\t%d\t(%s)\n",
		free, size(free), a.ggttSpare(), size(a.ggttSpare()), avail, size(avail))
	return b.String(), nil
}

// provisioned returns a file that lists the resources of each VF. line formats one line, or returns
// "" for a VF without any.
func (a *attributes) provisioned(line func(*function) string) node {
	return node{mode: 0o444, read: func() (string, error) {
		var b strings.Builder
		for fn := 1; fn < len(a.s.Functions); fn++ {
			if text := line(&a.s.Functions[fn]); text != "" {
				fmt.Fprintf(&b, "VF%d:\t%s\n", fn, text)
			}
		}
		return b.String(), nil
	}}
}

func ids(of func(*function) span) func(*function) string {
	return func(f *function) string {
		s := of(f)
		if s.Size == 0 {
			return ""
		}
		return fmt.Sprintf("%d-%d\t(%d)", s.Start, s.end()-1, s.Size)
	}
}
