package main

import (
	"cmp"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A term is a part of a requirement, like "vfs>=4".
type term struct{ name, op, value string }

var termForm = regexp.MustCompile(`^([a-z][a-z0-9_-]*)(!=|>=|<=|=|>|<)([!-~]+)$`)

// parseNeed reads a requirement: terms separated by blanks. A DUT must meet all terms.
func parseNeed(s string) ([]term, error) {
	var terms []term
	for _, w := range strings.Fields(s) {
		m := termForm.FindStringSubmatch(w)
		if m == nil {
			const want = "want LABEL OP VALUE without blanks, like vfs>=4; OP is one of = != >= <= > <"
			return nil, usagef("--need %q: %q: %s", s, w, want)
		}
		terms = append(terms, term{m[1], m[2], m[3]})
	}
	return terms, nil
}

// canonical returns a requirement with its terms in order, each once, so that equal requirements
// make one pool.
func canonical(needs ...string) string {
	words := strings.Fields(strings.Join(needs, " "))
	slices.Sort(words)
	return strings.Join(slices.Compact(words), " ")
}

// met reports whether labels meet the term. A missing label meets only "!=".
func (t term) met(labels map[string]string) bool {
	value, ok := labels[t.name]
	if !ok {
		return t.op == "!="
	}
	order := compareValues(value, t.value)
	equal := value == t.value || order == 0 && numbers(t.value) != nil
	switch t.op {
	case "=":
		return equal
	case "!=":
		return !equal
	case ">=":
		return order >= 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	}
	return order < 0
}

// lacks returns the terms of a requirement that labels do not meet, with the values of the labels.
// No DUT meets an invalid requirement.
func lacks(need string, labels map[string]string) (missing []string) {
	terms, err := parseNeed(need)
	if err != nil {
		return []string{err.Error()}
	}
	for _, t := range terms {
		if !t.met(labels) {
			missing = append(missing, t.name+t.op+t.value+" (it has "+cmp.Or(labels[t.name], "none")+")")
		}
	}
	return missing
}

var numberForm = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)*)(?:([KMGT])$|-rc([0-9]+))?`)

// numbers reads a number, a size (16G) or a version. It returns nil if s does not begin with one.
// The last number is the release candidate's; the release itself is greater than all its
// candidates.
func numbers(s string) (n []float64) {
	m := numberForm.FindStringSubmatch(s)
	if m == nil {
		return nil
	}
	for _, digits := range append(strings.Split(m[1], "."), cmp.Or(m[3], "Inf")) {
		x, _ := strconv.ParseFloat(digits, 64) // a number with too many digits is +Inf
		n = append(n, x)
	}
	n[0] *= math.Pow(1024, float64(1+strings.Index("KMGT", cmp.Or(m[2], "?"))))
	return n
}

// compareValues compares numbers, sizes and versions by their value: 6.9 < 6.19, 7.0-rc3 < 7.0,
// 7.0.1+deb13 = 7.0.1. It compares other values as text.
func compareValues(a, b string) int {
	x, y := numbers(a), numbers(b)
	if x == nil || y == nil {
		return cmp.Compare(a, b)
	}
	last := max(len(x), len(y)) - 1
	pad := func(n []float64) []float64 { // 7 is 7.0.0
		return slices.Concat(n[:len(n)-1], make([]float64, last+1-len(n)), n[len(n)-1:])
	}
	return slices.Compare(pad(x), pad(y))
}
