package klog

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// parsed returns the kernel messages in a line, each as "level text".
func parsed(line string) []string {
	var out []string
	for _, m := range ParseConsole(line) {
		level := "-"
		if m.Level != UnknownLevel {
			level = fmt.Sprint(m.Level)
		}
		out = append(out, level+" "+m.Text)
	}
	return out
}

// ParseConsole finds a kernel message at any place in a line, with its level if there is one.
func TestParseConsole(t *testing.T) {
	for line, want := range map[string][]string{
		// printk's format
		"[    1.234567] xe 0000:00:04.0: hello\r\n":   {"- xe 0000:00:04.0: hello"},
		"[12345.000001] x":                            {"- x"},
		"<4>[    0.000001] odd":                       {"4 odd"},
		"<4>[    0.000001][   C0] odd":                {"4 odd"},
		"[12345.000001][  T12] BUG: x\n":              {"- BUG: x"},
		"[    1.234567] ":                             {"- "},
		"[    1.234567]   [<ffffffff>] indented":      {"-   [<ffffffff>] indented"},
		"<3>no times here":                            {"3 no times here"},
		"<30>[    5.000000] systemd[1]: by a program": {"- systemd[1]: by a program"},
		"<0>[    5.000000] Kernel panic":              {"0 Kernel panic"},
		// dmesg's format
		"[    2.000000] [     T12] BUG: x":                   {"- BUG: x"},
		"[Tue Aug  6 16:31:20 2025] BUG: x":                  {"- BUG: x"},
		"\x1b[32m[    0.100000] \x1b[0m\x1b[33mxe\x1b[0m: a": {"- xe: a"},
		// after other text on the line
		"guest login: [   35.123456] BUG: x":                         {"- BUG: x"},
		"root@guest:~# [  245.000000] INFO: x":                       {"- INFO: x"},
		"root@guest:~# <4>[  245.000000] WARNING: x":                 {"4 WARNING: x"},
		"[  OK  ] Reached target X.[   35.100000] BUG: x":            {"- BUG: x"},
		"** 17 printk messages dropped ** [   35.100000] BUG: x":     {"- BUG: x"},
		"(initramfs) [    5.100000] Kernel panic - not syncing: x":   {"- Kernel panic - not syncing: x"},
		"login: \r[    1.234567] text":                               {"- text"},
		"[    1.234567] text\rroot@guest:~# ":                        {"- text"},
		"x<3>y [    1.234567] text":                                  {"- text"},
		"<2>[    1.000000] one<4>[    2.000000] two[    3.000000] 3": {"2 one", "4 two", "- 3"},
		"<2>[    1.000000] one\r<4>[    2.000000] two":               {"2 one", "4 two"},
		// after control sequences, whole or cut off
		"\x1b[0m\x1b[1;32m[    1.234567] text \x1b[31mred\x1b[0m": {"- text red"},
		"\x1bc[   35.100000] BUG: x":                              {"- BUG: x"},
		"\x1b[=3h[   35.100000] BUG: x":                           {"- BUG: x"},
		"\x1b]0;t\x07[   35.100000] BUG: x":                       {"- BUG: x"},
		"\x1b]0;t[   35.100000] BUG: x":                           {"- BUG: x"},
		"\x1b]0;t[   35.100000] BUG: x\x07":                       {"- BUG: x\x07"},
		"\x1b(B[   35.100000] BUG: x":                             {"- BUG: x"},
		"\x1b[!p\x1b]104\x07\x1b[?7h<3>[   35.100000] BUG: x":     {"3 BUG: x"},
		"\x00\x00[   35.100000] BUG: x\x00":                       {"- BUG: x"},
		// not from the kernel
		"": nil, "login: ": nil, "[  OK  ] Started": nil, "[1.2] x": nil, "BUG: says a program": nil,
		"[ 12.345] (II) Xorg": nil, "x <3>y": nil, "[1.234567": nil,
	} {
		if got := parsed(line); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// A long line gives the same messages in pieces as in one.
func TestCutLine(t *testing.T) {
	const message = "<3>[   35.100000][   C0] BUG: unable to handle page fault"
	for before := range 200 {
		for _, after := range []int{0, 10, 5000, 20000} {
			line := strings.Repeat("#", 10000+before) + message + strings.Repeat(".", after)
			var got []string
			rest := line
			for piece := ""; rest != "" || piece != ""; {
				n := min(len(rest), 8192-len(piece))
				piece, rest = piece+rest[:n], rest[n:]
				cut := CutLine(piece)
				if rest == "" {
					cut = len(piece)
				}
				got = append(got, parsed(piece[:cut])...)
				piece = piece[cut:]
			}
			if len(got) != 1 || !strings.HasPrefix(got[0], "3 BUG: unable to handle page fault") {
				t.Fatalf("%d before, %d after: %.100q", before, after, got)
			}
		}
	}
}

func FuzzParseConsole(f *testing.F) {
	for _, seed := range []string{
		"<4>[    0.000001][   C0] odd\r\n", "root@guest:~# [    1.000000] BUG: x",
		"\x1b]0;t\x07[    1.000000] a[    2.000000] b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		found := ParseConsole(line)
		size := 0
		for _, m := range found {
			size += len(m.Text)
			if m.Source != Guest || m.Level < UnknownLevel || m.Level > 7 || strings.ContainsAny(m.Text, "\r\n") {
				t.Errorf("%q: %+v", line, m)
			}
		}
		if size > len(line) {
			t.Errorf("%q: %d bytes of text", line, size)
		}
		// A message is found after any text.
		const late = "[   35.100000] BUG: late"
		if all := ParseConsole(line + late); len(all) == 0 || all[len(all)-1].Text != "BUG: late" {
			t.Errorf("%q: the message after it is lost: %+v", line, all)
		}
	})
}

func FuzzCutLine(f *testing.F) {
	f.Add("x [    1.000000] y")
	f.Fuzz(func(t *testing.T, line string) {
		if cut := CutLine(line); cut < 0 || cut > len(line) {
			t.Errorf("%q: %d", line, cut)
		}
	})
}
