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

// number is a numeric debugfs attribute of class xe: read %llu, write parsed as u64, then checked for its range. Any
// that is written makes the provisioning custom (since 6.19).
func (h *Host) number(most uint64, get func() uint64, set func(uint64) error) node {
	return node{mode: 0o644, read: decimal(get), write: func(text string) error {
		v, err := parseUint(text, 64)
		if err == nil && v > most {
			err = syscall.EOVERFLOW
		}
		if err == nil {
			err = set(v)
		}
		if err == nil && !h.o.Flat {
			h.s.Custom = true
		}
		return err
	}}
}

// config is a number that the device must be ready for.
func (h *Host) config(most uint64, get func() uint64, set func(uint64) error) node {
	return h.number(most, get, func(v uint64) error {
		if h.s.Wedged {
			return syscall.ECANCELED
		}
		return set(v)
	})
}

func decimal(get func() uint64) func() (string, error) {
	return func() (string, error) { return fmt.Sprintf("%d\n", get()), nil }
}

// parseUint is the kernel's kstrtou64_from_user: 23 bytes are looked at, a + and one newline are let pass.
func parseUint(text string, bits int) (uint64, error) {
	return parseLine(text[:min(len(text), 23)], bits)
}

// parseLine is kstrtoul, which looks at all of a text.
func parseLine(text string, bits int) (uint64, error) {
	text = strings.TrimSuffix(text, "\n")
	text = strings.TrimPrefix(text, "+")
	lower := strings.ToLower(text)
	if strings.HasPrefix(text, "+") || strings.Contains(text, "_") || strings.HasPrefix(lower, "0b") || strings.HasPrefix(lower, "0o") {
		return 0, syscall.EINVAL // forms that only Go knows
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

// in is the 32-bit number that a map holds.
func (h *Host) in(m map[string]uint64, name string) node {
	return h.number(math.MaxUint32, func() uint64 { return m[name] }, func(v uint64) error {
		set(m, name, v)
		return nil
	})
}

// slice is a time slice that a map holds.
func (h *Host) slice(m map[string]uint64, name string) node {
	return h.config(math.MaxUint32, func() uint64 { return m[name] }, func(v uint64) error {
		set(m, name, min(v, clamps[name]))
		return nil
	})
}

var clamps = map[string]uint64{"exec_quantum_ms": 100_000, "preempt_timeout_us": 100_000_000}

func (h *Host) priority(fn, g int) node {
	m := h.s.Functions[fn].GTs[g].Numbers
	return h.config(math.MaxUint32, func() uint64 { return m["sched_priority"] }, func(v uint64) error {
		if fn > 0 || v > 2 {
			return syscall.EIO // refused by the firmware
		}
		set(m, "sched_priority", v)
		return nil
	})
}

// flag is a boolean policy of a GT.
func (h *Host) flag(g int, name string) node {
	m := h.s.GTs[g].Numbers
	return h.number(1, func() uint64 { return m[name] }, func(v uint64) error {
		set(m, name, v)
		if name == "sched_if_idle" {
			h.setIdle(g, v)
		}
		return nil
	})
}

// setIdle is what the firmware does to all priorities of a GT with schedule-if-idle.
func (h *Host) setIdle(g int, v uint64) {
	set(h.s.GTs[g].Numbers, "sched_if_idle", v)
	for i := range h.s.Functions {
		set(h.s.Functions[i].GTs[g].Numbers, "sched_priority", v)
	}
}

// spare is a *_spare: 0 or at least the minimum.
func (h *Host) spare(least, most, align uint64, at func() uint64, store func(uint64)) node {
	limit := uint64(math.MaxUint64)
	if most < math.MaxUint32 {
		limit = math.MaxUint32
	}
	return h.config(limit, func() uint64 { return max(at(), least) }, func(v uint64) error {
		if v > most || v != 0 && v < least {
			return syscall.EINVAL
		}
		if v == least {
			v = 0 // the same thing, so that equal states have equal snapshots
		}
		store(roundUp(v, align))
		return nil
	})
}

// common reads a value that sysfs shows for all GTs at once.
func (h *Host) common(fn int, name string) (uint64, error) {
	gts := h.s.Functions[fn].GTs
	v := gts[0].Numbers[name]
	for _, g := range gts[1:] {
		if g.Numbers[name] != v {
			return 0, syscall.EUCLEAN
		}
	}
	return v, nil
}

// admin is a file of sriov_admin for the given functions; the mode stays as it is.
func (h *Host) admin(name string, fns ...int) node {
	n := node{mode: 0o644, read: func() (string, error) {
		v, err := h.common(fns[0], name)
		return fmt.Sprintf("%d\n", v), err
	}, write: func(text string) error {
		v, err := parseLine(text, 32)
		if err != nil {
			return err
		}
		for _, fn := range fns {
			for g := range h.s.GTs {
				set(h.s.Functions[fn].GTs[g].Numbers, name, min(v, clamps[name]))
			}
		}
		return nil
	}}
	if len(fns) > 1 {
		n.mode, n.read = 0o200, nil
	}
	return n
}

// adminVRAM is vram_quota of one VF, or of all; the mode stays as it is.
func (h *Host) adminVRAM(fns ...int) node {
	n := node{mode: 0o644, read: decimal(func() uint64 { return h.s.Functions[fns[0]].VRAM }), write: func(text string) error {
		v, err := parseLine(text, 64)
		if err != nil {
			return err
		}
		for _, fn := range fns {
			if err := h.setVRAM(fn, v); err != nil {
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

// adminPriority is sched_priority of one function.
func (h *Host) adminPriority(fn int) node {
	offered := priorities
	n := node{mode: 0o644}
	if fn > 0 {
		offered, n.mode = priorities[:2], 0o444
	}
	n.read = func() (string, error) {
		v, err := h.common(fn, "sched_priority")
		words := slices.Clone(offered)
		words[v] = "[" + words[v] + "]"
		return strings.Join(words, " ") + "\n", err
	}
	n.write = func(text string) error {
		v := slices.Index(priorities, strings.TrimSuffix(text, "\n"))
		if v < 0 {
			return syscall.EINVAL
		}
		for g := range h.s.GTs {
			set(h.s.Functions[fn].GTs[g].Numbers, "sched_priority", uint64(v))
		}
		return nil
	}
	return n
}

func (h *Host) bulkPriority() node {
	return node{mode: 0o200, write: func(text string) error {
		v := slices.Index(priorities[:2], strings.TrimSuffix(text, "\n"))
		if v < 0 {
			return syscall.EINVAL
		}
		for g := range h.s.GTs {
			h.setIdle(g, uint64(v))
		}
		return nil
	}}
}

func (h *Host) restoreAuto() node {
	return node{mode: 0o200, write: func(text string) error {
		on, ok := kernelBool(text)
		switch {
		case !ok:
			return syscall.EINVAL
		case !on || !h.s.Custom:
			return nil
		case h.s.NumVFs > 0:
			return syscall.EBUSY
		}
		h.release(h.o.TotalVFs)
		h.s.Custom = false
		return nil
	}, read: func() (string, error) { return "", nil }}
}

// whenReady makes a file of sriov_admin refuse writes to a device that is wedged.
func (h *Host) whenReady(n node) node {
	if write := n.write; write != nil {
		n.write = func(text string) error {
			if h.s.Wedged {
				return syscall.ECANCELED
			}
			return write(text)
		}
	}
	return n
}

// size is the kernel's three-digit size, string_get_size(STRING_UNITS_2).
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

func (h *Host) ggttAvailable() (string, error) {
	var b strings.Builder
	var free uint64
	for _, s := range h.shownHoles(-1) {
		fmt.Fprintf(&b, "range:\t%#x-%#x\t(%s)\n", s.Start, s.end()-1, size(s.Size))
		free += s.Size
	}
	avail := free - min(free, h.ggttSpare())
	fmt.Fprintf(&b, "total:\t%d\t(%s)\nspare:\t%d\t(%s)\navail:\t%d\t(%s)\n",
		free, size(free), h.ggttSpare(), size(h.ggttSpare()), avail, size(avail))
	return b.String(), nil
}

// provisioned lists what each VF holds, with format for one line.
func (h *Host) provisioned(line func(*function) string) node {
	return node{mode: 0o444, read: func() (string, error) {
		var b strings.Builder
		for fn := 1; fn < len(h.s.Functions); fn++ {
			if text := line(&h.s.Functions[fn]); text != "" {
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
