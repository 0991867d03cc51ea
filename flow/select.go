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

// Select returns the items that match any of patterns, in plan order, each once. Without patterns
// it returns all items except those with [Case.ByName].
//
// A pattern is an id or a part of one: file, class, case and parameter may be left out. The file
// may have a directory and the suffix ".py". A key of results.json is a pattern, too; "vmm_flows/"
// matches everything. "*" is the only wildcard. "[1VF]" matches the parameter 1VF. If nothing has
// that parameter, "[1VF]" is a shorthand for every parameter that begins with "1VF-"; notes lists
// the ids it matched. A case with [Case.ByName] must be named by the pattern.
//
// A wrong pattern is a [bench.UsageError]. A pattern that matches nothing is a [bench.UsageError]
// that matches ErrNoMatch, with similar names as advice.
func (r *Registry) Select(patterns []string) (items []Item, notes []string, err error) {
	all := r.Items()
	if len(patterns) == 0 {
		return slices.DeleteFunc(all, func(it Item) bool { return it.ByName }), nil, nil
	}
	taken := map[ID]bool{}
	var errs []error
	for _, text := range patterns {
		ids, short, err := r.resolve(all, text)
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

// resolve returns the ids that one pattern matches. An exact match comes before a looser one. short
// reports whether the pattern was a shorthand.
func (r *Registry) resolve(all []Item, text string) (ids []ID, short bool, err error) {
	p, err := parsePattern(text)
	if err != nil {
		return nil, false, err
	}
	var unnamed string // a case that matches but has ByName and is not named
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

// A pattern is a parsed pattern of [Registry.Select].
type pattern struct {
	all      bool
	whole    string   // without directory, ".py" and "vmtb@"
	parts    []string // the given ones of file, class, case
	file     bool     // the first part is a file
	param    string
	hasParam bool
}

func parsePattern(text string) (pattern, error) {
	s, _, _ := strings.Cut(text, "#") // "vmtb list" appends "#" and marks to an id
	s = strings.TrimPrefix(strings.TrimSpace(s), "vmtb@")
	bad := func(why string) (pattern, error) {
		return pattern{}, &bench.UsageError{Err: fmt.Errorf("selection %q: %s", text, why)}
	}
	if s == "" {
		return bad("it is empty")
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
		return bad("it names no flow")
	}
	p.file = p.file && file != ""
	return p, nil
}

// flowsDir is the directory of all flows in the Python tool. Its users name it to select
// everything.
const flowsDir = "vmm_flows"

// stripFile returns the file without directory and suffix. was reports whether it had any. For
// flowsDir/ and ./ the name is "".
func stripFile(s string) (name string, was bool) {
	trimmed := strings.TrimRight(s, "/")
	base := trimmed[strings.LastIndex(trimmed, "/")+1:]
	if trimmed != s && (base == flowsDir || base == ".") {
		return "", true
	}
	name = cmp.Or(strings.TrimSuffix(base, ".py"), s)
	return name, name != s
}

// is reports whether p is exactly id.
func (p pattern) is(id ID) bool { return p.all || p.whole == id.String() }

// matches reports whether p matches id without a shorthand.
func (p pattern) matches(id ID) bool {
	return strings.Contains(p.whole, "*") && glob(p.whole, id.String()) ||
		p.names(id) && (!p.hasParam || glob(p.param, id.Param))
}

// short reports whether p matches id by the beginning of its parameter.
func (p pattern) short(id ID) bool { return p.hasParam && p.names(id) && glob(p.param+"-*", id.Param) }

// names reports whether p's parts are among those of id, in order.
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

// glob reports whether pattern matches the whole of s. "*" matches any text.
func glob(pattern, s string) bool {
	star, from := -1, 0 // the last "*", and the position in s where its text ends so far
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

// note returns a line with the number of ids that a shorthand selects.
func note(text string, ids []ID) string {
	if len(ids) == 1 {
		return fmt.Sprintf("%s selects 1 flow: %s", text, ids[0])
	}
	return fmt.Sprintf("%s selects %d flows", text, len(ids))
}
