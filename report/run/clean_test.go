package run

import (
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"a\r\nb\rc\n": "a\nb\nc\n", "\x1b[1;31mred\x1b[0m": "red", "\x1b]0;title\x07x\x1b]8;;u\x1b\\y": "xy",
		"\x1bcz\x1b":         `z\x1b`,
		"a\x00\x00\x00b\x00": `a\x00(3 times)b\x00`, "\xff": "\uFFFD",
		"\u202e\u2028\ufffe\x07": `\u202e\u2028\ufffe\x07`,
		"\t":                     "    ", "é😀": "é😀",
	} {
		if got := Clean(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

func TestTail(t *testing.T) {
	fsys := fstest.MapFS{"log": {Data: []byte("first\nsecond\nthird\n")}, "dir/x": {}}
	for _, tt := range []struct {
		name string
		n    int64
		want string
	}{
		{"log", 100, "first\nsecond\nthird\n"},
		{"log", 8, "[13 bytes before this are left out: log]\nthird\n"},
		{"log", 3, "[19 bytes before this are left out: log]\n"},
		{"none", 9, ""},
		{"dir", 9, ""},
		{"../log", 9, ""},
	} {
		got, err := ReadTail(fsys, tt.name, tt.n)
		if err != nil || got.String() != tt.want {
			t.Errorf("%s, %d: %q, %v", tt.name, tt.n, got, err)
		}
	}
	for s, want := range map[string]string{
		"short": "short", "one\ntwo\nthree four": "[...]\nthree four",
		strings.Repeat("é", 20): "[...]\n" + strings.Repeat("é", 5),
	} {
		if got := LastBytes(s, 17); got != want || !utf8.ValidString(got) {
			t.Errorf("%q is %q, want %q", s, got, want)
		}
	}
}

// Clean is called several times for each entry of a journal, nearly always with plain text.
func TestCleanPlainText(t *testing.T) {
	const text = "step boot 1 VM: ok\nthe driver has bound the VF\n"
	if n := testing.AllocsPerRun(100, func() { Clean(text); Escape(text) }); n != 0 {
		t.Errorf("Clean and Escape of plain text allocate %g times, want 0", n)
	}
}

// BenchmarkClean measures Clean of a plain text, and of one with control characters.
func BenchmarkClean(b *testing.B) {
	for name, text := range map[string]string{
		"plain": "the driver has bound the VF", "odd": "the \x1b[31mdriver\x1b[0m has\r\nbound\x07 the VF",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Clean(text)
			}
		})
	}
}
