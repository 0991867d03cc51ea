package xe

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"vmtb/bench/xe/vgpu"
)

// These types are the kernel's texts. Each parser accepts only the format of the driver's printf,
// and known differences between versions: a key that an older driver does not print, or that a
// newer driver adds.

// A Range is a contiguous range of GGTT addresses, context ids or doorbells. As in the kernel's
// output, Last is part of it.
type Range struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Size returns how many addresses or ids the range has.
func (r Range) Size() uint64 { return r.Last - r.First + 1 }

// Available is the free part of the GGTT of a tile, in bytes.
type Available struct {
	Holes []Range `json:"holes"` // free ranges, ascending
	Total uint64  `json:"total"` // bytes of all holes
	Spare uint64  `json:"spare"` // bytes of Total that are kept for the PF
	Avail uint64  `json:"avail"` // bytes for VFs: Total without Spare
}

// Limits are the possible and the enabled numbers of VFs.
type Limits struct {
	Total     int `json:"total"`     // by the hardware
	Supported int `json:"supported"` // by the driver
	Enabled   int `json:"enabled"`
}

// A Version is the version of the interface between VF and PF.
type Version struct{ Major, Minor uint64 }

func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// MarshalText writes "1.0".
func (v Version) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Versions are the versions that the PF's driver supports, and the versions that it has agreed on
// with each VF's driver since the VF's last reset.
type Versions struct {
	Base, Latest Version
	VFs          map[int]Version
}

// Mode is how the driver runs a device.
type Mode struct {
	Supported bool   `json:"supported"` // SR-IOV
	Enabled   bool   `json:"enabled"`
	Mode      string `json:"mode"` // "none", "SR-IOV PF" or "SR-IOV VF"
}

// Events are the adverse events of a VF that the firmware has counted since the VF's last reset, or
// in the last period (sample_period_ms), in the units of [vgpu.Thresholds].
type Events struct {
	VF int
	vgpu.Thresholds
}

// pairs splits lines of the form "key: value".
func pairs(text string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for line := range strings.Lines(text) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			if !yield(key, strings.TrimSpace(value)) {
				return
			}
		}
	}
}

// fields reads the values of known keys, and ignores other keys. Each known key must be there once,
// unless it is optional.
func fields(text string, into map[string]func(value string) error, optional ...string) error {
	seen := map[string]bool{}
	for key, value := range pairs(text) {
		read := into[key]
		if read == nil {
			continue
		}
		if seen[key] {
			return fmt.Errorf("%q occurs twice in %q", key, text)
		}
		if err := read(value); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		seen[key] = true
	}
	for _, key := range slices.Sorted(maps.Keys(into)) {
		if !seen[key] && !slices.Contains(optional, key) {
			return fmt.Errorf("no %q in %q", key, text)
		}
	}
	return nil
}

// number reads a decimal number that may be followed by a rounded one in parentheses.
func number(value string, base int) (uint64, error) {
	n, rest, more := cutSpace(value)
	v, err := strconv.ParseUint(n, base, 64)
	if err != nil || more && !strings.HasPrefix(rest, "(") {
		return 0, fmt.Errorf("%q is not a number", value)
	}
	return v, nil
}

// cutSpace cuts at the first blank or tab.
func cutSpace(s string) (before, after string, found bool) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, "", false
	}
	return s[:i], strings.TrimSpace(s[i:]), true
}

func toUint(to *uint64) func(string) error {
	return func(value string) (err error) {
		*to, err = number(value, 10)
		return err
	}
}

func toInt(to *int) func(string) error {
	return func(value string) (err error) {
		*to, err = strconv.Atoi(value)
		if err != nil || *to < 0 {
			return fmt.Errorf("%q is not a number of VFs", value)
		}
		return nil
	}
}

func toVersion(to *Version) func(string) error {
	return func(value string) (err error) {
		*to, err = parseVersion(value)
		return err
	}
}

func toYes(to *bool) func(string) error {
	return func(value string) error {
		*to = value == "yes"
		if value != "yes" && value != "no" {
			return fmt.Errorf("%q is neither yes nor no", value)
		}
		return nil
	}
}

func toText(to *string) func(string) error {
	return func(value string) error {
		*to = value
		if value == "" {
			return fmt.Errorf("%q is empty", value)
		}
		return nil
	}
}

// parseRange reads "0xbee00000-0xfedfffff" or "49151-65534", with or without a rounded size in
// parentheses.
func parseRange(value string) (Range, error) {
	span, rest, more := cutSpace(value)
	first, last, _ := strings.Cut(span, "-")
	var r Range
	var err, err2 error
	r.First, err = strconv.ParseUint(first, 0, 64)
	r.Last, err2 = strconv.ParseUint(last, 0, 64)
	if err != nil || err2 != nil || r.Last < r.First || more && !strings.HasPrefix(rest, "(") {
		return Range{}, fmt.Errorf("%q is not a range", value)
	}
	return r, nil
}

// parseVersion reads "1.0".
func parseVersion(value string) (Version, error) {
	major, minor, _ := strings.Cut(value, ".")
	var v Version
	var err, err2 error
	v.Major, err = strconv.ParseUint(major, 10, 32)
	v.Minor, err2 = strconv.ParseUint(minor, 10, 32)
	if err != nil || err2 != nil {
		return Version{}, fmt.Errorf("%q is not a version", value)
	}
	return v, nil
}

// parseVF reads "VF12".
func parseVF(key string) (int, bool) {
	digits, ok := strings.CutPrefix(key, "VF")
	n, err := strconv.ParseUint(digits, 10, 16)
	return int(n), ok && err == nil && n > 0
}

// perVF reads lines "VF<n>: value", one for each VF that has something, in order.
func perVF[T any](text string, read func(vf int, value string) (T, error)) ([]T, error) {
	var list []T
	last := 0
	for key, value := range pairs(text) {
		vf, ok := parseVF(key)
		if !ok || vf <= last {
			return nil, fmt.Errorf("%q: not the line of a VF after VF%d", key, last)
		}
		last = vf
		item, err := read(vf, value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		list = append(list, item)
	}
	return list, nil
}

// parseEvents reads adverse_events: a line "VF1:\tcat_error_count:1 engine_reset_count:0 ... " for
// each VF that has any.
func parseEvents(text string) ([]Events, error) {
	return perVF(text, func(vf int, value string) (Events, error) {
		e := Events{VF: vf}
		known := map[string]*uint64{}
		for _, c := range e.Counters() {
			known[c.Name] = c.Value
		}
		found := 0
		for _, word := range strings.Fields(value) {
			name, count, _ := strings.Cut(word, ":")
			n, err := strconv.ParseUint(count, 10, 64)
			if err != nil {
				return e, fmt.Errorf("%q is not a count", word)
			}
			if known[name] != nil {
				*known[name] = n
				found++
			}
		}
		if found == 0 {
			return e, fmt.Errorf("no known counter in %q", value)
		}
		return e, nil
	})
}

// parseAvailable reads ggtt_available: lines "range:" for each hole, then "total:", "spare:",
// "avail:".
func parseAvailable(text string) (Available, error) {
	var a Available
	for key, value := range pairs(text) {
		if key != "range" {
			continue
		}
		r, err := parseRange(value)
		if err != nil {
			return a, err
		}
		a.Holes = append(a.Holes, r)
	}
	// The driver lists them in the order of their last change.
	slices.SortFunc(a.Holes, func(x, y Range) int { return cmp.Compare(x.First, y.First) })
	err := fields(
		text,
		map[string]func(string) error{"total": toUint(&a.Total), "spare": toUint(&a.Spare), "avail": toUint(&a.Avail)},
	)
	return a, err
}

// parseLimits reads the file vfs.
func parseLimits(text string) (l Limits, err error) {
	err = fields(
		text,
		map[string]func(string) error{
			"total": toInt(&l.Total), "supported": toInt(&l.Supported), "enabled": toInt(&l.Enabled),
		},
	)
	return l, err
}

// parseMode reads sriov_info. A device that supports no SR-IOV says no more than that.
func parseMode(text string) (m Mode, err error) {
	m.Mode = "none"
	err = fields(text, map[string]func(string) error{"supported": toYes(&m.Supported)})
	if err == nil && m.Supported {
		err = fields(text, map[string]func(string) error{"enabled": toYes(&m.Enabled), "mode": toText(&m.Mode)})
	}
	return m, err
}

// parseVersions reads the file versions.
func parseVersions(text string) (Versions, error) {
	v := Versions{VFs: map[int]Version{}}
	err := fields(text, map[string]func(string) error{"base": toVersion(&v.Base), "latest": toVersion(&v.Latest)})
	if err != nil {
		return v, err
	}
	for key, value := range pairs(text) {
		if vf, ok := parseVF(key); ok {
			if v.VFs[vf], err = parseVersion(value); err != nil {
				return v, fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	return v, nil
}
