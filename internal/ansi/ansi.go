package ansi

import (
	"regexp"
	"strings"
)

// sequence matches a control sequence of ECMA-48, xterm or the Linux console. The alternatives are,
// in this order: CSI ("ESC [ 31 m", "ESC [ = 3 h"); the palette of the Linux console ("ESC ] P
// 0ff8800"), which has no end mark; OSC, DCS, SOS, PM and APC up to their end mark, BEL or "ESC \";
// character sets and the like ("ESC ( B"); all others of two bytes ("ESC c").
var sequence = regexp.MustCompile("\x1b(?:" +
	`\[[0-?]*[ -/]*[@-~]` + "|" +
	`\](?:P[0-9A-Fa-f]{7}|R)` + "|" +
	`[\]PX^_][^` + "\x07\x1b\n" + `]*(?:` + "\x07|\x1b" + `\\)` + "|" +
	`[ -/]+[0-~]` + "|" +
	`[0-~])`)

// Strip returns s without control sequences. Of an incomplete sequence it removes only the first
// two bytes, because the following bytes may be other text.
func Strip(s string) string {
	if strings.IndexByte(s, 0x1b) < 0 {
		return s
	}
	return sequence.ReplaceAllString(s, "")
}

// Printable returns s with "?" in place of control characters, which file names and guests' output
// may contain. It keeps line ends and tabs. Its result is safe to print on a terminal.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
