package flow

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"vmtb/bench"
)

// ErrNoMatch is in the error of a selection that matches nothing.
var ErrNoMatch = errors.New("no flow matches")

// Select is the items that any of patterns asks for, in plan order, each once; no patterns ask for
// everything.
//
// A pattern is an id, or a part of one: file, class or case may be left out, and so may the
// parameter. The file may carry a directory and ".py"; a key of results.json is a pattern, too;
// "vmm_flows/" is everything. "*" is the only wildcard. "[1VF]" stands for the parameter 1VF or, if
// nothing has that, for every parameter that starts with "1VF-"; notes say which ids such a
// shorthand took. Cases that are [Case.ByName] are taken only by patterns that name the case.
//
// A pattern that is wrong or matches nothing is a [bench.UsageError], with names that are near; the
// latter is ErrNoMatch as well.
func (r *Registry) Select(patterns []string) (items []Item, notes []string, err error) {
	all := r.Items()
	if len(patterns) == 0 {
		return slices.DeleteFunc(all, func(it Item) bool { return it.ByName }), nil, nil
	}
	taken := map[ID]bool{}
	var errs []error
	for _, text := range patterns {
		ids, short, err := r.ask(all, text)
		if err != nil {
			errs = append(errs, err)
		}
		if short {
			notes = append(notes, note(text, ids))
		}
		for _, id := range ids {
			taken[id] = true
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	return slices.DeleteFunc(all, func(it Item) bool { return !taken[it.ID] }), notes, nil
}

// ask is what one pattern takes. The exact comes before the less exact; short says that a shorthand
// was needed.
func (r *Registry) ask(all []Item, text string) (ids []ID, short bool, err error) {
	p, err := parsePattern(text)
	if err != nil {
		return nil, false, err
	}
	var unnamed string // a case that matches and was not named
	for i, matches := range []func(ID) bool{p.is, p.matches, p.short} {
		for _, it := range all {
			switch {
			case !matches(it.ID):
			case it.ByName && !slices.Contains(p.parts, it.ID.Case):
				unnamed = it.ID.Case
			default:
				ids = append(ids, it.ID)
			}
		}
		if len(ids) > 0 {
			return ids, i == 2, nil
		}
	}
	advice := p.advice(all)
	if unnamed != "" {
		advice = unnamed + " runs only if its whole name is given"
	}
	return nil, false, &bench.UsageError{Err: fmt.Errorf("%w %q", ErrNoMatch, text), Advice: advice}
}

// A pattern is what a user selects with.
type pattern struct {
	all      bool
	whole    string   // without directory, ".py" and "vmtb@"
	parts    []string // those of file, class, case that are given
	file     bool     // the first part is a file
	param    string
	hasParam bool
}

func parsePattern(text string) (pattern, error) {
	s, _, _ := strings.Cut(text, "#") // as "vmtb list" marks an id
	s = strings.TrimPrefix(strings.TrimSpace(s), "vmtb@")
	bad := func(why string) (pattern, error) {
		return pattern{}, &bench.UsageError{Err: fmt.Errorf("selection %q: %s", text, why)}
	}
	if s == "" {
		return bad("empty")
	}
	var p pattern
	names, param, hasParam := strings.Cut(s, "[")
	if hasParam {
		var closed bool
		p.param, closed = strings.CutSuffix(param, "]")
		p.hasParam = true
		if !closed && !strings.HasSuffix(param, "*") {
			return bad("the bracket is not closed")
		}
	}
	file, rest, more := strings.Cut(names, "::")
	file, p.file = stripFile(file)
	if file == "" && p.file && !more && !hasParam {
		p.all = true
		return p, nil
	}
	if more {
		rest = "::" + rest
	}
	p.whole = file + rest + strings.TrimPrefix(s, names)
	for _, part := range strings.Split(file+rest, "::") {
		if part != "" {
			p.parts = append(p.parts, part)
		}
	}
	if p.parts == nil && !hasParam {
		return bad("names nothing")
	}
	p.file = p.file && file != ""
	return p, nil
}

// flowsDir is the directory of flows that users of the Python tool name when they want everything.
const flowsDir = "vmm_flows"

// stripFile takes the directory and the suffix off a file; was says that there were any. Of
// flowsDir/ and ./ nothing is left.
func stripFile(s string) (name string, was bool) {
	trimmed := strings.TrimRight(s, "/")
	base := trimmed[strings.LastIndex(trimmed, "/")+1:]
	if trimmed != s && (base == flowsDir || base == ".") {
		return "", true
	}
	name = cmp.Or(strings.TrimSuffix(base, ".py"), s)
	return name, name != s
}

// is reports that p is id itself.
func (p pattern) is(id ID) bool { return p.all || p.whole == id.String() }

// matches reports that p, without shorthands, asks for id.
func (p pattern) matches(id ID) bool {
	return strings.Contains(p.whole, "*") && glob(p.whole, id.String()) ||
		p.names(id) && (!p.hasParam || glob(p.param, id.Param))
}

// short reports that p asks for id by the beginning of its parameter.
func (p pattern) short(id ID) bool { return p.hasParam && p.names(id) && glob(p.param+"-*", id.Param) }

// names reports that p's parts are among id's, in order.
func (p pattern) names(id ID) bool {
	parts, of := p.parts, []string{id.File, id.Class, id.Case}
	if p.file {
		if !glob(parts[0], id.File) {
			return false
		}
		parts, of = parts[1:], of[1:]
	}
	return inOrder(parts, of)
}

func inOrder(parts, of []string) bool {
	if len(parts) == 0 {
		return true
	}
	for i := range of {
		if glob(parts[0], of[i]) && inOrder(parts[1:], of[i+1:]) {
			return true
		}
	}
	return false
}

// glob reports that pattern, in which "*" stands for any text, is the whole of s.
func glob(pattern, s string) bool {
	star, from := -1, 0 // the last "*" met, and what it was last tried to end at
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, from = i, j
			i++
		case i < len(pattern) && pattern[i] == s[j]:
			i++
			j++
		case star >= 0:
			from++
			i, j = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[i:], "*") == ""
}

// note says how much a shorthand selects.
func note(text string, ids []ID) string {
	if len(ids) == 1 {
		return fmt.Sprintf("%s selects 1 flow: %s", text, ids[0])
	}
	return fmt.Sprintf("%s selects %d flows", text, len(ids))
}
