package igttable

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files again")

const samplePlace = `kernel 7.3.4
igt 2.5-1
date 2026-11-30

1 test_fill: count == 4
2 no local memory (xe_has_vram(fd))

xe_fill@a fail 1
xe_fill@b pass
xe_fill@c notrun
xe_vram@a skip 2
xe_vram@b skip 2
xe_vram@c skip 2
xe_vram@d timeout
`

const sampleReasons = `# a comment
xe_fill@a    fail  shaders   Fills by a shader.

pf/xe_vram@.*no.local.memory  skip,fail  platform  The GPU is integrated.
`

func TestPlace(t *testing.T) {
	const empty = "kernel ?\nigt ?\ndate ?\n\n\n"
	for _, text := range []string{samplePlace, empty, empty + "a pass\n"} {
		p, err := Parse("ptl-pf", text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(text, p.String()); diff != "" {
			t.Error(diff)
		}
	}
	for _, bad := range []string{
		"", "kernel 7", "color red\n\n\n", "kernel 7\n\n2 note\n\n", "kernel 7\n\n1 note\n\na skip 2\n",
		"kernel 7\n\n\na pass\na pass\n", "kernel 7\n\n\na\n",
	} {
		if _, err := Parse("ptl-pf", bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
	if got := Line(" a\n\tb\x00" + strings.Repeat("x", 200)); len(got) != 160 || !strings.HasPrefix(got, "a b x") {
		t.Errorf("%q", got)
	}
}

func TestReasons(t *testing.T) {
	if _, err := ParseReasons(sampleReasons); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"a any time", "( any time x", "a any skip x", "a any colour x"} {
		if _, err := ParseReasons(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

// TestPage: the page of two places. Only ptl-pf has a rule for missing local memory.
func TestPage(t *testing.T) {
	reasons, err := ParseReasons(sampleReasons)
	if err != nil {
		t.Fatal(err)
	}
	places := []*Place{{Name: "bmg-pf"}}
	for _, name := range []string{"ptl-pf", "ptl-vf"} {
		p, err := Parse(name, samplePlace)
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, p)
	}
	page := Page(places, reasons)
	const file = "testdata/page.golden"
	if *update {
		if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), page); diff != "" {
		t.Error(diff)
	}
}

// FuzzParse: what is read and written is read as the same again.
func FuzzParse(f *testing.F) {
	f.Add(samplePlace, sampleReasons)
	f.Add("kernel ?\nigt ?\ndate ?\n\n\n", "")
	f.Fuzz(func(t *testing.T, text, rules string) {
		reasons, _ := ParseReasons(rules)
		p, err := Parse("ptl-pf", text)
		if err != nil {
			return
		}
		again, err := Parse("ptl-pf", p.String())
		if err != nil || again.String() != p.String() {
			t.Fatalf("%v\n%q\n%q", err, p, again)
		}
		Page([]*Place{p}, reasons)
	})
}
