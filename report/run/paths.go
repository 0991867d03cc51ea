package run

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strings"

	"vmtb/flow"
)

// PathName returns an id without blanks, brackets and colons, for KCIDB and LAVA:
// "basic.VmSetup.vm_boot.2VF-P_AUTO-S_INFINITE". It leaves out common prefixes: "Test" of a class,
// "test_" of a case, and "test_" of the Python tool's files. A hash at the end keeps names
// different that would otherwise become equal.
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

// upstreamFiles are the Python tool's files without their prefix. Only these files lose it:
// vm_state and test_acme keep their names.
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

// namePart returns s without the prefix. If s does not have the prefix, it gets a hash, because it
// may be equal to a shortened name. Names have no "-", so "tear-down" needs no hash.
func namePart(s, prefix string) string {
	name, cut := strings.CutPrefix(s, prefix)
	part := PathPart(name)
	if !cut && !strings.Contains(s, "-") {
		part += hashEnd(s)
	}
	return part
}

// Patterns of the Python tool's parameters, and of their forms from [PathPart]. Different
// parameters of these forms have different paths.
var (
	upstreamParam = regexp.MustCompile(`^[0-9A-Za-z]+VF-\(P:\w+ S:\w+\)` +
		`(-N:\w+|-WL:\w+\.\w+|-WL:\w+-\(C:[0-9]+ R:[0-9]+\)|-RS:\w+-MR:\w+\.\w+)?$`)
	upstreamPath = regexp.MustCompile(`^[0-9A-Za-z]+VF-P_`)
)

// paramPart returns a parameter in the form of [PathPart]. It ends in a hash, with two exceptions.
// One is a parameter in a form of the Python tool. The other is a parameter that needs no change
// and cannot be such a form: "6.18" and "6-18" stay different.
func paramPart(s string) string {
	part, odd := mapPart(s)
	plain := part == s && !upstreamPath.MatchString(s)
	if odd || !plain && !upstreamParam.MatchString(s) {
		part += hashEnd(s)
	}
	return part
}

// PathPart returns s with only letters, digits, "_" and "-". If s has characters that the Python
// tool's parameters do not have, a hash at the end keeps different parts different.
func PathPart(s string) string {
	part, odd := mapPart(s)
	if odd {
		part += hashEnd(s)
	}
	return part
}

// mapPart returns s with only letters, digits, "_" and "-". odd reports whether s has characters
// that the Python tool's parameters do not have, or whether part is empty.
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
	_, _ = h.Write([]byte(s)) // writing to a hash never fails
	return fmt.Sprintf("-%08x", h.Sum32())
}
