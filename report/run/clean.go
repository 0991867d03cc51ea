package run

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"vmtb/internal/ansi"
)

var (
	nuls     = regexp.MustCompile("\x00{2,}")
	lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")
)

// Clean returns text of a machine in a form that every format can hold: valid UTF-8, lines that end
// in \n, no terminal commands. It writes other characters that do not print as escapes ("\x07").
// These include all characters that XML and JSON cannot hold.
func Clean(s string) string {
	if plain(s) {
		return s
	}
	s = ansi.Strip(s)
	s = lineEnds.Replace(s)
	s = nuls.ReplaceAllStringFunc(s, func(run string) string { return fmt.Sprintf("\x00(%d times)", len(run)) })
	return Escape(s)
}

// plain reports whether s has only printable ASCII characters and line feeds. Nearly all texts are
// plain, and Clean is called several times for each entry of a journal.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < ' ' || c > '~') && c != '\n' {
			return false
		}
	}
	return true
}

// OneLine returns s cleaned, on one line, at most n characters long.
func OneLine(s string, n int) string {
	s = s[:min(len(s), 16*n)]
	return Cut(strings.ReplaceAll(strings.TrimSpace(Clean(s)), "\n", " / "), n)
}

// LastBytes returns at most the last n bytes of clean text. If there is a line start in them, the
// result begins there.
func LastBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const mark = "[...]\n"
	s = s[len(s)-max(0, n-len(mark)):]
	if i := strings.IndexByte(s, '\n'); i >= 0 && i < len(s)-1 {
		return mark + s[i+1:]
	}
	for len(s) > 0 && !utf8.RuneStart(s[0]) {
		s = s[1:]
	}
	return mark + s
}

// Escape replaces characters that must not reach a terminal by escapes: control characters, and
// others that do not print.
func Escape(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r == '\t':
			b.WriteString("    ")
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// Width returns the number of terminal columns of s.
func Width(s string) int { return utf8.RuneCountInString(s) }

// Cut returns s, shortened to at most n columns.
func Cut(s string, n int) string {
	if Width(s) <= n {
		return s
	}
	r := []rune(s)
	return string(r[:max(0, n-3)]) + "..."
}
