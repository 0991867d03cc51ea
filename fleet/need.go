package main

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A term of a requirement: "vfs>=4".
type term struct{ name, op, value string }

var termForm = regexp.MustCompile(`^([a-z][a-z0-9_-]*)(!=|>=|<=|=|>|<)([!-~]+)$`)

// parseNeed reads a requirement: terms with blanks between them, all of which must be met.
func parseNeed(s string) ([]term, error) {
	var terms []term
	for _, w := range strings.Fields(s) {
		m := termForm.FindStringSubmatch(w)
		if m == nil {
			return nil, usagef("--need %q: %q: want LABEL OP VALUE without blanks, like vfs>=4; OP is one of = != >= <= > <", s, w)
		}
		terms = append(terms, term{m[1], m[2], m[3]})
	}
	return terms, nil
}

// canonical is a requirement with its terms in order, each once, so that the same one makes the
// same pool.
func canonical(needs ...string) string {
	words := strings.Fields(strings.Join(needs, " "))
	slices.Sort(words)
	return strings.Join(slices.Compact(words), " ")
}

// met reports whether labels meet the term. A label that is not there meets "!=" only.
func (t term) met(labels map[string]string) bool {
	value, ok := labels[t.name]
	if !ok {
		return t.op == "!="
	}
	order := compareValues(value, t.value)
	switch t.op {
	case "=":
		return value == t.value || order == 0 && numeric(t.value)
	case "!=":
		return value != t.value && (order != 0 || !numeric(t.value))
	case ">=":
		return order >= 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	}
	return order < 0
}

// lacks are the terms of a requirement that labels do not meet, with what there is instead. A
// requirement that does not read is met by nothing.
func lacks(need string, labels map[string]string) (missing []string) {
	terms, err := parseNeed(need)
	if err != nil {
		return []string{err.Error()}
	}
	for _, t := range terms {
		if !t.met(labels) {
			has := "none"
			if v := labels[t.name]; v != "" {
				has = v
			}
			missing = append(missing, t.name+t.op+t.value+" (it has "+has+")")
		}
	}
	return missing
}

var (
	sizeForm    = regexp.MustCompile(`^([0-9]+)([KMGT])$`)
	versionForm = regexp.MustCompile(`^[0-9]+(?:\.[0-9]+)*`)
	rcForm      = regexp.MustCompile(`^-rc([0-9]+)`)
)

func numeric(s string) bool { return versionForm.FindString(s) == s || sizeForm.MatchString(s) }

// compareValues compares numbers, sizes (16G) and versions as such: 6.9 < 6.19, 7.0-rc3 < 7.0,
// 7.0.1+deb13 = 7.0.1. Other values are compared as text.
func compareValues(a, b string) int {
	if x, y := sizeForm.FindStringSubmatch(a), sizeForm.FindStringSubmatch(b); x != nil && y != nil {
		return cmp.Compare(bytesOf(x), bytesOf(y))
	}
	x, y := versionForm.FindString(a), versionForm.FindString(b)
	if x == "" || y == "" {
		return cmp.Compare(a, b)
	}
	p, q := strings.Split(x, "."), strings.Split(y, ".")
	for i := range max(len(p), len(q)) {
		if order := cmp.Compare(part(p, i), part(q, i)); order != 0 {
			return order
		}
	}
	return cmp.Compare(candidate(a[len(x):]), candidate(b[len(y):]))
}

func bytesOf(m []string) float64 {
	n, _ := strconv.ParseFloat(m[1], 64) // digits
	return n * float64(uint64(1)<<(10*(1+strings.Index("KMGT", m[2]))))
}

func part(parts []string, i int) float64 {
	if i >= len(parts) {
		return 0
	}
	n, _ := strconv.ParseFloat(parts[i], 64) // digits, perhaps many
	return n
}

// candidate is the place of a release candidate among those of its version: the release itself
// comes last.
func candidate(rest string) int {
	m := rcForm.FindStringSubmatch(rest)
	if m == nil {
		return 1 << 30
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return 1 << 30
	}
	return n
}
