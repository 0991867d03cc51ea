package igttable

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A kind is a class of reasons.
type kind struct{ name, title string }

// kinds are the classes of reasons, in the order of the page. A rule in reasons.txt names one of
// them, except the last two.
var kinds = []kind{
	{"shaders", "Shaders: the emulated GPU does not run them"},
	{"display", "Display: the emulated GPU has none"},
	{"platform", "The GPU or the function does not have it, on hardware neither"},
	{"model", "A part of the hardware that is not modelled"},
	{"lab", "The lab: the DUT or the guest lacks something"},
	{"time", "Time: an emulated CPU is too slow"},
	{"linux", "Findings about Linux or IGT"},
	{kindSkip, "Skipped, in IGT's own words"},
	{"", "No reason yet: faults of the device or the lab"},
}

const kindSkip = "skip"

// Reasons are the rules of reasons.txt. The first rule that matches counts.
type Reasons []rule

type rule struct {
	pattern    *regexp.Regexp // of PLACE/PROGRAM@SUBTEST: NOTE
	results    []string       // nil: each
	kind, text string
}

// ParseReasons reads the text of reasons.txt. A line has a pattern, a list of results with commas
// or "any", a kind of reason, and the reason.
func ParseReasons(text string) (Reasons, error) {
	var all Reasons
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Fields(line)
		if len(f) < 4 {
			return nil, fmt.Errorf("reasons: %q: want PATTERN RESULTS KIND REASON", line)
		}
		pattern, err := regexp.Compile(f[0])
		if err != nil {
			return nil, fmt.Errorf("reasons: %w", err)
		}
		if !slices.ContainsFunc(kinds[:len(kinds)-2], func(k kind) bool { return k.name == f[2] }) {
			return nil, fmt.Errorf("reasons: %q: there is no kind %s", line, f[2])
		}
		r := rule{pattern: pattern, kind: f[2], text: strings.Join(f[3:], " ")}
		if f[1] != "any" {
			r.results = strings.Split(f[1], ",")
		}
		all = append(all, r)
	}
	return all, nil
}

// of returns kind and text of the reason for an outcome. Both are "" for a pass, and if there is no
// reason.
func (all Reasons) of(place, test string, o Outcome) (kind, text string) {
	if o.Result == Pass {
		return "", ""
	}
	for _, r := range all {
		if (r.results == nil || slices.Contains(r.results, o.Result)) &&
			r.pattern.MatchString(place+"/"+test+": "+o.Note) {
			return r.kind, r.text
		}
	}
	if o.Result == Skip && o.Note != "" {
		return kindSkip, o.Note
	}
	return "", ""
}
