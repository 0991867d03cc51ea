package flow

import (
	"fmt"
	"strings"
	"unicode"

	"vmtb/bench"
)

// A Keyword is an expression about ids, like pytest's -k. Its operands are words and quoted texts.
// An operand is true if the id contains it; case does not matter. The operators are "and", "or",
// "not" (which binds closest) and parentheses.
type Keyword struct{ match func(id string) bool }

// maxDepth is the largest nesting depth of parentheses and "not".
const maxDepth = 100

// ParseKeyword parses an expression. A mistake in it is a [bench.UsageError].
func ParseKeyword(expression string) (Keyword, error) {
	p := keywordParser{rest: expression}
	p.next()
	match := p.or(0)
	if p.token != "" {
		p.fail("unexpected %q", p.token)
	}
	if p.wrong != "" {
		return Keyword{}, &bench.UsageError{
			Err: fmt.Errorf("-k %q: %s", expression, p.wrong), Advice: `like "migration and not 1vm"`,
		}
	}
	return Keyword{match}, nil
}

// Match reports whether the expression is true for id.
func (k Keyword) Match(id string) bool { return k.match(strings.ToLower(id)) }

// A keywordParser parses an expression by recursive descent:
//
//	or = and { "or" and };  and = not { "and" not };  not = "not" not | "(" or ")" | word
type keywordParser struct {
	rest   string
	token  string // "" at the end
	quoted bool   // the token is a quoted text, never an operator
	wrong  string // the first mistake
}

func (p *keywordParser) fail(format string, args ...any) {
	if p.wrong == "" {
		p.wrong = fmt.Sprintf(format, args...)
	}
	p.rest, p.token = "", ""
}

// next advances to the next token.
func (p *keywordParser) next() {
	p.rest = strings.TrimLeftFunc(p.rest, unicode.IsSpace)
	p.token, p.quoted = "", false
	switch {
	case p.rest == "":
	case strings.ContainsRune("()", rune(p.rest[0])):
		p.token, p.rest = p.rest[:1], p.rest[1:]
	case strings.ContainsRune(`"'`, rune(p.rest[0])):
		text, rest, closed := strings.Cut(p.rest[1:], p.rest[:1])
		if !closed || text == "" {
			p.fail("a quoted text is empty or has no closing quote")
			return
		}
		p.token, p.rest, p.quoted = text, rest, true
	default:
		end := strings.IndexFunc(p.rest, func(r rune) bool { return unicode.IsSpace(r) || r == '(' || r == ')' })
		if end < 0 {
			end = len(p.rest)
		}
		p.token, p.rest = p.rest[:end], p.rest[end:]
	}
}

// is reports whether the token is this operator, and advances if it is.
func (p *keywordParser) is(word string) bool {
	if p.quoted || p.token != word {
		return false
	}
	p.next()
	return true
}

func (p *keywordParser) or(depth int) func(string) bool {
	match := p.and(depth)
	for p.is("or") {
		left, right := match, p.and(depth)
		match = func(id string) bool { return left(id) || right(id) }
	}
	return match
}

func (p *keywordParser) and(depth int) func(string) bool {
	match := p.not(depth)
	for p.is("and") {
		left, right := match, p.not(depth)
		match = func(id string) bool { return left(id) && right(id) }
	}
	return match
}

func (p *keywordParser) not(depth int) func(string) bool {
	if depth > maxDepth {
		p.fail(`parentheses and "not" are nested too deeply`)
	}
	switch {
	case p.is("not"):
		match := p.not(depth + 1)
		return func(id string) bool { return !match(id) }
	case p.is("("):
		match := p.or(depth + 1)
		if !p.is(")") {
			p.fail("a parenthesis is not closed")
		}
		return match
	}
	word := strings.ToLower(p.token)
	if word == "" || !p.quoted && (word == ")" || word == "and" || word == "or") {
		p.fail("a word is missing")
		return func(string) bool { return false }
	}
	p.next()
	return func(id string) bool { return strings.Contains(id, word) }
}
