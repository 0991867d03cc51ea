package ansi

import (
	"strings"
	"testing"
)

// Strip removes control sequences of all kinds, and nothing else.
func TestStrip(t *testing.T) {
	for in, want := range map[string]string{
		"":                                     "",
		"plain [0m text":                       "plain [0m text",
		"\x1b[0;1;31mred\x1b[0m":               "red",
		"\x1b[?2004h\x1b[=3h\x1b[!pa":          "a",
		"\x1bca\x1b7b\x1b8":                    "ab",
		"\x1b(B\x1b)0\x1b%Ga":                  "a",
		"\x1b]0;title\x07a":                    "a",
		"\x1b]104\x07a\x1b]8;;http://x\x1b\\b": "ab",
		"\x1b]P0ff8800a\x1b]Rb":                "ab",
		"\x1bP1$r0m\x1b\\a\x1b_x\x1b\\b":       "ab",
		"\x1b]0;cut off":                       "0;cut off",
		"\x1b]0;cut off\nnext\x07":             "0;cut off\nnext\x07",
		"end\x1b":                              "end\x1b",
		"a\x1b[6nb":                            "ab",
	} {
		if got := Strip(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// The result has no sequence, is not longer than the input, and keeps its lines.
func FuzzStrip(f *testing.F) {
	f.Add("\x1b]0;t\x07[    1.000000] BUG: x\x1b[0m\n")
	f.Fuzz(func(t *testing.T, s string) {
		got := Strip(s)
		if len(got) > len(s) || strings.Count(got, "\n") > strings.Count(s, "\n") {
			t.Errorf("%q became %q", s, got)
		}
		if !strings.Contains(s, "\x1b") && got != s {
			t.Errorf("%q became %q without a sequence in it", s, got)
		}
	})
}
