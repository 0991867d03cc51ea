package docs

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write changelog.md again")

const changelogHead = `# What changed for those who use vmtb

Flags, exit codes, JSON fields, ids and messages that a script may look for are an interface to other
people's CI. Each change of them has an entry here, the newest first: look at these in scripts and CI
jobs. vmtb has no tagged releases yet: the date is that of the commit.
`

// TestChangelog compares changelog.md with the fragments in the directory changelog.
func TestChangelog(t *testing.T) {
	fragments, err := filepath.Glob("../changelog/*/*.md")
	if err != nil || len(fragments) < 32 {
		t.Fatalf("%d fragments, %v", len(fragments), err)
	}
	slices.SortFunc(fragments, func(a, b string) int {
		if dirA, dirB := filepath.Dir(a), filepath.Dir(b); dirA != dirB {
			return strings.Compare(dirB, dirA) // the newest day first
		}
		return strings.Compare(a, b)
	})
	var page strings.Builder
	page.WriteString(changelogHead)
	day := ""
	for _, file := range fragments {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := filepath.Base(filepath.Dir(file)); d != day {
			day = d
			page.WriteString("\n## " + day + "\n\n")
		}
		page.WriteString("- " + strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n  ") + "\n")
	}
	if *update {
		if err := os.WriteFile("changelog.md", []byte(page.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("changelog.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(page.String(), string(got)); diff != "" {
		t.Errorf("changelog.md is not made of the fragments: go test ./docs -update (-fragments +file):\n%s", diff)
	}
}
