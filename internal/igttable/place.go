package igttable

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Results that this package has rules for. Others are those of igt_runner: fail, timeout, crash.
const (
	Pass   = "pass"
	Skip   = "skip"
	NotRun = "notrun"
)

// A Place has the results of one GPU, as PF or as VF in a guest.
type Place struct {
	Name    string             // "ptl-pf"
	Head    map[string]string  // kernel, igt, date
	Results map[string]Outcome // by PROGRAM@SUBTEST
}

// An Outcome is the result of a subtest. Note is IGT's reason if the subtest did not pass.
type Outcome struct{ Result, Note string }

// Places are the names of all places.
var Places = []string{"ptl-pf", "ptl-vf", "bmg-pf", "bmg-vf"}

// Heads are the keys of [Place.Head], in the order of the file.
var Heads = []string{"kernel", "igt", "date"}

// String returns the text of the place's file. It has three parts, with a blank line before the
// second and the third: the head, the numbered notes, and the results with the numbers of their
// notes.
func (p *Place) String() string {
	var b strings.Builder
	for _, key := range Heads {
		fmt.Fprintf(&b, "%s %s\n", key, cmp.Or(Line(p.Head[key]), "?"))
	}
	b.WriteByte('\n')
	names, numbers := slices.Sorted(maps.Keys(p.Results)), map[string]int{"": 0}
	for _, name := range names {
		note := Line(p.Results[name].Note)
		if _, ok := numbers[note]; !ok {
			numbers[note] = len(numbers)
			fmt.Fprintf(&b, "%d %s\n", numbers[note], note)
		}
	}
	b.WriteByte('\n')
	for _, name := range names {
		fmt.Fprintf(&b, "%s %s", name, p.Results[name].Result)
		if n := numbers[Line(p.Results[name].Note)]; n > 0 {
			fmt.Fprintf(&b, " %d", n)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Line returns text in one line of at most 160 characters, without control characters.
func Line(text string) string {
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, ""), func(r rune) bool { return r <= ' ' }), " ")
	if r := []rune(text); len(r) > 160 {
		text = strings.TrimSpace(string(r[:160]))
	}
	return text
}

// Parse reads the text of a place's file.
func Parse(name, text string) (*Place, error) {
	p := &Place{Name: name, Head: map[string]string{}, Results: map[string]Outcome{}}
	parts := strings.SplitN(text, "\n\n", 3)
	if len(parts) == 2 { // no notes: the second part is empty
		parts = slices.Insert(parts, 1, "")
		parts[2] = strings.TrimPrefix(parts[2], "\n")
	}
	if len(parts) != 3 {
		return nil, fmt.Errorf("%s: want three parts with a blank line between them", name)
	}
	for line := range strings.Lines(parts[0]) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !slices.Contains(Heads, key) {
			return nil, fmt.Errorf("%s: %q is not a line of the head", name, line)
		}
		p.Head[key] = value
	}
	notes := map[string]string{}
	for line := range strings.Lines(parts[1]) {
		number, note, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.Atoi(number); err != nil || n != len(notes)+1 || note == "" {
			return nil, fmt.Errorf("%s: %q is not note %d", name, line, len(notes)+1)
		}
		notes[number] = note
	}
	for line := range strings.Lines(parts[2]) {
		f := append(strings.Fields(line), "")
		if len(f) < 3 || len(f) > 4 || len(f) == 4 && notes[f[2]] == "" {
			return nil, fmt.Errorf("%s: %q: want PROGRAM@SUBTEST RESULT [NOTE]", name, line)
		}
		if _, twice := p.Results[f[0]]; twice {
			return nil, fmt.Errorf("%s: %s has two results", name, f[0])
		}
		p.Results[f[0]] = Outcome{Result: f[1], Note: notes[f[2]]}
	}
	return p, nil
}

// program returns the program of PROGRAM@SUBTEST.
func program(test string) string {
	name, _, _ := strings.Cut(test, "@")
	return name
}
