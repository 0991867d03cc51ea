package vgpu

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"vmtb/bench"
	"vmtb/internal/strictjson"
)

// A node is a JSON value with its position in the file. Decoding into a Go type, as package
// strictjson does, would lose the order of profiles, and which keys are missing.
type node struct {
	offset  int
	key     string        // "vGPUResources.Profile.Bmg_6.VFCount"
	kind    jsontext.Kind // of its first token; 0 if it is missing
	text    string        // of a string or a number
	members []member      // of an object
}

type member struct {
	name string
	node
}

// A parser reads a profile file. It keeps the first error, with file, line, column and key.
type parser struct {
	file string
	data []byte
	dec  *jsontext.Decoder
	err  error
}

const maxDepth = 16

func (p *parser) fail(n node, format string, args ...any) {
	p.failWith(strictjson.Errorf(p.file, p.data, n.offset, n.key, format, args...))
}

func (p *parser) failWith(err error) {
	if p.err == nil {
		p.err = &bench.UsageError{Err: err}
	}
}

// document reads the whole file.
func (p *parser) document() node {
	p.dec = jsontext.NewDecoder(bytes.NewReader(p.data))
	root := p.value("", 0)
	end := p.here("")
	if _, err := p.dec.ReadToken(); !errors.Is(err, io.EOF) {
		p.fail(end, "the file has more text after the end of the object")
	}
	return root
}

func (p *parser) here(key string) node { return node{offset: int(p.dec.InputOffset()), key: key} }

// token reads the next token, and keeps its error in p.err.
func (p *parser) token() jsontext.Token {
	t, err := p.dec.ReadToken()
	if err != nil {
		p.failWith(strictjson.Locate(p.file, p.data, err))
	}
	return t
}

func (p *parser) value(key string, depth int) node {
	n := p.here(key)
	t := p.token()
	if p.err != nil {
		return n
	}
	switch n.kind = t.Kind(); {
	case n.kind == '[':
		p.fail(n, "this file must not have a list")
	case depth > maxDepth:
		p.fail(n, "nested too deeply")
	case n.kind == '{':
		n.members = p.object(key, depth)
	default:
		n.text = t.String()
	}
	return n
}

func (p *parser) object(key string, depth int) (list []member) {
	for p.err == nil && p.dec.PeekKind() != '}' {
		if name := p.token(); p.err == nil {
			text := name.String()
			list = append(list, member{text, p.value(below(key, text), depth+1)})
		}
	}
	if p.err == nil {
		p.token()
	}
	return list
}

func below(key, name string) string { return strings.TrimPrefix(key+"."+name, ".") }

// keys returns the values of the keys, in their order. An object with other keys, or without one of
// these, is an error.
func (p *parser) keys(n node, keys ...string) []node {
	list := make([]node, len(keys))
	for i, k := range keys {
		list[i] = node{offset: n.offset, key: below(n.key, k)}
	}
	for _, m := range p.all(n) {
		i := slices.Index(keys, m.name)
		if i < 0 {
			p.fail(m.node, "unknown key; known here: %s", strings.Join(keys, ", "))
			return list
		}
		list[i] = m.node
	}
	if i := slices.IndexFunc(list, func(n node) bool { return n.kind == 0 }); i >= 0 {
		p.fail(list[i], "is missing")
	}
	return list
}

// all returns the members of an object, whatever their keys.
func (p *parser) all(n node) []member {
	if n.kind != '{' {
		p.fail(n, "must be an object, not %s", n)
	}
	return n.members
}

func (p *parser) uint(n node, most uint64) uint64 {
	if n.kind == 'f' { // some files say false for "off"
		return 0
	}
	v, err := strconv.ParseUint(n.text, 10, 64)
	if n.kind != '0' || err != nil || v > most {
		p.fail(n, "must be a whole number from 0 to %d, not %s", most, n)
	}
	return v
}

func (p *parser) bool(n node) bool {
	if n.kind != 't' && n.kind != 'f' {
		p.fail(n, "must be true or false, not %s", n)
	}
	return n.kind == 't'
}

func (p *parser) string(n node) string {
	if n.kind != '"' {
		p.fail(n, "must be a string, not %s", n)
	}
	return n.text
}

// String returns the value in JSON notation.
func (n node) String() string {
	switch n.kind {
	case '{':
		return "an object"
	case '"':
		return strconv.Quote(n.text)
	}
	return n.text
}
