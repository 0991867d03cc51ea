package flow

import (
	"cmp"
	"slices"
	"strings"
)

// advice returns advice for a pattern that matches nothing: the parameters that its names have, or
// similar names.
func (p pattern) advice(all []Item) string {
	const most = 5
	var near []string
	add := func(s string) {
		if !slices.Contains(near, s) {
			near = append(near, s)
		}
	}
	if p.hasParam {
		for _, it := range all {
			if p.names(it.ID) {
				add("[" + it.ID.Param + "]")
			}
		}
		if len(near) > most {
			near = append(near[:most], "...")
		}
		if len(near) > 0 {
			return "these exist: " + strings.Join(near, " ")
		}
	}
	for _, s := range Nearest(strings.Join(p.parts, "::"), names(all), 3) {
		add(s)
	}
	if len(near) == 0 {
		return "see vmtb list"
	}
	return "did you mean " + strings.Join(near, " or ") + "?"
}

// names returns every name that a pattern without a parameter can match exactly, each once.
func names(all []Item) []string {
	var out []string
	seen := map[string]bool{}
	for _, it := range all {
		id := it.ID
		parts := []string{id.File, id.Class, id.Case}
		for from := range parts {
			for to := from + 1; to <= len(parts); to++ {
				filled := slices.DeleteFunc(slices.Clone(parts[from:to]), func(s string) bool { return s == "" })
				s := strings.Join(filled, "::")
				if s != "" && !seen[s] {
					seen[s] = true
					out = append(out, s)
				}
			}
		}
	}
	return out
}

// Nearest returns the n names that are nearest to s, or fewer. A name may differ by at most two
// bytes or a third of the length of s.
func Nearest(s string, names []string, n int) []string {
	type candidate struct {
		name string
		d    int
	}
	var near []candidate
	for _, name := range names {
		if d := distance(strings.ToLower(s), strings.ToLower(name)); d <= max(2, len(s)/3) && d < max(2, len(s)) {
			near = append(near, candidate{name, d})
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return cmp.Compare(a.d, b.d) })
	var out []string
	for _, c := range near[:min(n, len(near))] {
		out = append(out, c.name)
	}
	return out
}

// distance returns the number of bytes to insert, delete or replace to turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1) // a row of the table: row[j] is the distance of a[:i] and b[:j]
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}
