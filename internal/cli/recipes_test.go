package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var recipeCommand = regexp.MustCompile(`(?:^|[\s'])vmtb ((?:run|resume|recover|merge|report|labels|list|doctor)\b.*)`)

// TestRecipes: this program accepts each vmtb command line in the recipes for other engines, with
// all its flags, and the shell can parse the scripts. A test of the fleet's module reads the YAML
// files.
func TestRecipes(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "examples/fleet/*/*"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		engine, n := filepath.Base(filepath.Dir(file)), 0
		for line := range strings.Lines(string(text)) {
			n++
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "#") || strings.HasPrefix(line, "//") {
				continue
			}
			if m := recipeCommand.FindStringSubmatch(line); m != nil {
				seen[engine]++
				words, _, _ := strings.Cut(m[1], " || ")
				if strings.Count(words, "'")%2 == 1 { // quoted in a step: sh 'vmtb ...'
					words = strings.TrimSuffix(words, "'")
				}
				checkCommandLine(t, fmt.Sprintf("%s:%d", file, n), words)
			}
		}
		if strings.HasSuffix(file, ".sh") {
			if out, err := exec.CommandContext(t.Context(), "sh", "-n", file).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", file, err, out)
			}
		}
		if open, closed := strings.Count(string(text), "{"), strings.Count(string(text), "}"); open != closed {
			t.Errorf("%s has %d times { and %d times }", file, open, closed)
		}
	}
	for engine, least := range map[string]int{"lava": 3, "slurm": 4, "gitlab": 2, "jenkins": 2, "labgrid": 2} {
		if seen[engine] < least {
			t.Errorf(
				"%s: %d command lines of vmtb, want %d: does this test still find them?", engine, seen[engine], least,
			)
		}
	}
}
