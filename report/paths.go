package report

import (
	"fmt"
	"hash/fnv"
	"strings"

	"vmtb/flow"
)

// pathName is an id where blanks, brackets and colons are not allowed, in KCIDB and LAVA: "basic.VmSetup.vm_boot.2VF-P_AUTO-S_INFINITE".
// The prefixes that every name has are left out: "test_" of file and case, "Test" of the class.
func pathName(id flow.ID) string {
	parts := []string{pathPart(strings.TrimPrefix(id.File, "test_"))}
	if id.Class != "" {
		parts = append(parts, pathPart(strings.TrimPrefix(id.Class, "Test")))
	}
	if id.Case != "" {
		parts = append(parts, pathPart(strings.TrimPrefix(id.Case, "test_")))
	}
	if id.Param != "" {
		parts = append(parts, pathPart(id.Param))
	}
	return strings.Join(parts, ".")
}

// pathPart is s in letters, digits, "_" and "-". The characters of upstream's parameters have their places; s with any
// other gets a hash at its end, so that two parts that differ stay different.
func pathPart(s string) string {
	var b strings.Builder
	odd := s == ""
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
	if odd || b.Len() == 0 {
		h := fnv.New32a()
		_, _ = h.Write([]byte(s)) // never fails
		fmt.Fprintf(&b, "-%08x", h.Sum32())
	}
	return b.String()
}
