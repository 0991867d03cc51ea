package run

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strings"

	"vmtb/flow"
)

// PathName returns an id for where blanks, brackets and colons are not allowed, in KCIDB and LAVA:
// "basic.VmSetup.vm_boot.2VF-P_AUTO-S_INFINITE". It leaves out prefixes that nearly every name has:
// "Test" of a class, "test_" of a case, and "test_" of upstream's files. The few names that would
// then be equal to others end in a hash.
func PathName(id flow.ID) string {
	parts := []string{filePart(id.File)}
	if id.Class != "" {
		parts = append(parts, namePart(id.Class, "Test"))
	}
	if id.Case != "" {
		parts = append(parts, namePart(id.Case, "test_"))
	}
	if id.Param != "" {
		parts = append(parts, paramPart(id.Param))
	}
	return strings.Join(parts, ".")
}

// upstreamFiles are the files whose prefix is left out, without it. Other files keep their names:
// vm_state, test_acme.
var upstreamFiles = []string{"basic", "migration"}

func filePart(s string) string {
	name, cut := strings.CutPrefix(s, "test_")
	if cut && slices.Contains(upstreamFiles, name) {
		return name
	}
	part := PathPart(s)
	if slices.Contains(upstreamFiles, part) {
		part += hashEnd(s)
	}
	return part
}

// namePart leaves out the prefix of s. A name without the prefix gets a hash, because it may be
// equal to the rest of a name with it. Names have no "-": "tear-down" needs no hash.
func namePart(s, prefix string) string {
	name, cut := strings.CutPrefix(s, prefix)
	part := PathPart(name)
	if !cut && !strings.Contains(s, "-") {
		part += hashEnd(s)
	}
	return part
}

// Upstream's parameters, and what [PathPart] returns for them. No two parameters of these forms
// have the same path.
var (
	upstreamParam = regexp.MustCompile(`^[0-9A-Za-z]+VF-\(P:\w+ S:\w+\)` +
		`(-N:\w+|-WL:\w+\.\w+|-WL:\w+-\(C:[0-9]+ R:[0-9]+\)|-RS:\w+-MR:\w+\.\w+)?$`)
	upstreamPath = regexp.MustCompile(`^[0-9A-Za-z]+VF-P_`)
)

// paramPart returns a parameter as [PathPart] writes it. It ends in a hash unless it has one of
// upstream's forms, or needs no change and cannot be the path of an upstream parameter: "6.18" and
// "6-18" stay different.
func paramPart(s string) string {
	part, odd := mapPart(s)
	plain := part == s && !upstreamPath.MatchString(s)
	if odd || !plain && !upstreamParam.MatchString(s) {
		part += hashEnd(s)
	}
	return part
}

// PathPart returns s in letters, digits, "_" and "-". s with a character that upstream's parameters
// do not have gets a hash at its end, so that different parts stay different.
func PathPart(s string) string {
	part, odd := mapPart(s)
	if odd {
		part += hashEnd(s)
	}
	return part
}

// mapPart returns s in letters, digits, "_" and "-". odd reports whether s has a character that
// upstream's parameters do not have, or nothing is left of it.
func mapPart(s string) (part string, odd bool) {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
			b.WriteRune(r)
		case r == ':':
			b.WriteByte('_')
		case r == ' ', r == '.':
			b.WriteByte('-')
		case r == '(', r == ')':
		default:
			b.WriteByte('_')
			odd = true
		}
	}
	return b.String(), odd || b.Len() == 0
}

func hashEnd(s string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s)) // never fails
	return fmt.Sprintf("-%08x", h.Sum32())
}
