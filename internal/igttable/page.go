package igttable

import (
	"cmp"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
)

//go:embed head.md
var pageHead string

// Page returns the text of docs/igt.md.
func Page(places []*Place, reasons Reasons) string {
	var b strings.Builder
	b.WriteString(pageHead)
	writePlaces(&b, places, reasons)
	writePrograms(&b, places)
	writeReasons(&b, places, reasons)
	return b.String()
}

// writePlaces writes the table with the sums of each place.
func writePlaces(b *strings.Builder, places []*Place, reasons Reasons) {
	b.WriteString("| Place | Kernel, IGT, date | Subtests | Run | Passed | Need neither shaders nor display " +
		"| of these passed | passed of those that hardware can run |\n" +
		"|---|---|---|---|---|---|---|---|\n")
	for _, p := range places {
		if len(p.Results) == 0 {
			fmt.Fprintf(b, "| %s | | | not run yet | | | | |\n", p.Name)
			continue
		}
		var run, passed, plain, possible int
		for test, o := range p.Results {
			if o.Result == NotRun {
				continue
			}
			run++
			if o.Result == Pass {
				passed++
			}
			kind, _ := reasons.of(p.Name, test, o)
			if kind != "shaders" && kind != "display" {
				plain++
			}
			if kind != "shaders" && kind != "display" && kind != "platform" {
				possible++
			}
		}
		whole := "all"
		if run < len(p.Results) {
			whole = fmt.Sprintf("%d, so not whole yet", run)
		}
		fmt.Fprintf(b, "| %s | %s, %s, %s | %d | %s | %d | %d | %s | %s |\n", p.Name, p.Head["kernel"], p.Head["igt"],
			p.Head["date"], len(p.Results), whole, passed, plain, percent(passed, plain), percent(passed, possible))
	}
}

func percent(part, whole int) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%d %%", part*100/whole)
}

// writePrograms writes the table with a row for each program.
func writePrograms(b *strings.Builder, places []*Place) {
	b.WriteString("\n## Programs\n\nPassed / subtests. In parentheses: how many were run, if not all.\n\n| Program |")
	rows, total := map[string][]string{}, []string{"all"}
	for i, p := range places {
		fmt.Fprintf(b, " %s |", p.Name)
		sums := map[string]*sum{}
		all := &sum{}
		for test, o := range p.Results {
			s := sums[program(test)]
			if s == nil {
				s = &sum{}
				sums[program(test)] = s
			}
			s.add(o)
			all.add(o)
		}
		for name, s := range sums {
			if rows[name] == nil {
				rows[name] = make([]string, len(places))
			}
			rows[name][i] = s.String()
		}
		total = append(total, all.String())
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(places)) + "\n")
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		fmt.Fprintf(b, "| `%s` | %s |\n", name, strings.Join(rows[name], " | "))
	}
	fmt.Fprintf(b, "| %s |\n", strings.Join(total, " | "))
}

// A sum counts results.
type sum struct{ passed, run, all int }

func (s *sum) add(o Outcome) {
	s.all++
	if o.Result != NotRun {
		s.run++
	}
	if o.Result == Pass {
		s.passed++
	}
}

func (s *sum) String() string {
	switch s.run {
	case s.all:
		return fmt.Sprintf("%d / %d", s.passed, s.all)
	case 0:
		return "not run"
	}
	return fmt.Sprintf("%d / %d (%d run)", s.passed, s.all, s.run)
}

// A group is what the page says in one item: the reason, the result if there is no reason, and the
// places.
type group struct{ kind, text, places string }

// writeReasons writes a section for each kind of reason, with all subtests that did not pass.
func writeReasons(b *strings.Builder, places []*Place, reasons Reasons) {
	type key struct{ test, kind, text string }
	at, programs := map[key][]string{}, map[string]map[string]bool{}
	for _, p := range places {
		for test, o := range p.Results {
			if programs[program(test)] == nil {
				programs[program(test)] = map[string]bool{}
			}
			programs[program(test)][test] = true
			if o.Result == Pass || o.Result == NotRun {
				continue
			}
			kind, text := reasons.of(p.Name, test, o)
			switch kind {
			case "":
				text = quoted(strings.TrimSuffix(o.Result+": "+o.Note, ": "))
			case kindSkip:
				text = quoted(text)
			}
			at[key{test, kind, text}] = append(at[key{test, kind, text}], p.Name)
		}
	}
	groups := map[group][]string{}
	for k, names := range at {
		g := group{k.kind, k.text, strings.Join(names, ", ")}
		groups[g] = append(groups[g], k.test)
	}
	order := slices.SortedFunc(maps.Keys(groups), func(a, b group) int {
		return cmp.Or(strings.Compare(a.text, b.text), strings.Compare(a.places, b.places))
	})
	for _, k := range kinds {
		var items strings.Builder
		n := 0
		for _, g := range order {
			if g.kind == k.name {
				n += len(groups[g])
				fmt.Fprintf(&items, "- %s (%s): %s\n", g.text, g.places, list(groups[g], programs))
			}
		}
		if n > 0 {
			fmt.Fprintf(b, "\n## %s\n\n%s", k.title, items.String())
		}
	}
}

// quoted returns IGT's text as code in Markdown.
func quoted(text string) string { return "`" + strings.ReplaceAll(text, "`", "'") + "`" }

// shown is how many subtests of a program an item names. For more it has their number.
const shown = 8

// list returns the names of tests, by program.
func list(tests []string, programs map[string]map[string]bool) string {
	slices.Sort(tests)
	var items []string
	for len(tests) > 0 {
		name := program(tests[0])
		n := slices.IndexFunc(tests, func(test string) bool { return program(test) != name })
		if n < 0 {
			n = len(tests)
		}
		all := len(programs[name])
		switch {
		case n == all:
			items = append(items, fmt.Sprintf("`%s` (all %d)", name, n))
		case n > shown:
			items = append(items, fmt.Sprintf("`%s` (%d of %d)", name, n, all))
		default:
			for _, test := range tests[:n] {
				items = append(items, "`"+test+"`")
			}
		}
		tests = tests[n:]
	}
	return strings.Join(items, ", ")
}
