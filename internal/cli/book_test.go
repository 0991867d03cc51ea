package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"vmtb/flow"
	"vmtb/internal/booktest"
	"vmtb/internal/cli/env"
)

// root is the directory of the module.
const root = "../.."

// TestBookCommands: this program accepts each vmtb command line in the book's blocks, with all its
// flags. The lab's TestBook runs these commands.
func TestBookCommands(t *testing.T) {
	commands, err := booktest.Commands(root)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, c := range commands {
		for part := range strings.SplitSeq(c.Text, " && ") {
			if line, ok := strings.CutPrefix(part, "vmtb "); ok {
				seen++
				checkCommandLine(t, fmt.Sprintf("%s:%d", c.File, c.Line), line)
			}
		}
	}
	if seen < 40 {
		t.Errorf("only %d command lines: does this test still find them?", seen)
	}
}

func checkCommandLine(t *testing.T, at, line string) {
	t.Helper()
	e := &env.Env{Out: t.Output(), Err: t.Output(), Registry: flow.NewRegistry()}
	cmd, rest, err := command(e).Find(shellWords(line))
	if err == nil && cmd.HasSubCommands() {
		t.Errorf("%s: vmtb %s: no such command", at, line)
		return
	}
	if err == nil {
		cmd.InitDefaultHelpFlag()
		err = cmd.ParseFlags(rest)
	}
	if err == nil {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err != nil {
		t.Errorf("%s: vmtb %s: %v", at, line, err)
	}
}

// shellWords returns the words of a simple command, without quotes. It ends at a comment, a pipe,
// ";" or ">".
func shellWords(line string) (words []string) {
	var word strings.Builder
	var quote rune
	begun := false
	end := func() {
		if begun {
			words = append(words, word.String())
		}
		word.Reset()
		begun = false
	}
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, begun = r, true
		case r == ' ':
			end()
		case strings.ContainsRune("#|;>", r) && !begun:
			return words
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	end()
	return words
}

var link = regexp.MustCompile(`\]\(([^)#:\s]+)(?:#[^)]*)?\)`)

// TestBookLinks: each file of this repository that the book names exists.
func TestBookLinks(t *testing.T) {
	chapters, err := booktest.Chapters(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(chapters) < 10 {
		t.Fatalf("only %d files: %q", len(chapters), chapters)
	}
	others, err := filepath.Glob(filepath.Join(root, "docs/decisions/*.md"))
	if err != nil || len(others) < 9 {
		t.Fatalf("%d decisions, %v", len(others), err)
	}
	for _, file := range others {
		chapters = append(chapters, "docs/decisions/"+filepath.Base(file))
	}
	chapters = append(chapters, "CONTRIBUTING.md", "changelog/README.md")
	for _, file := range chapters {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// TestBookModule builds a separate module beside this one, as the book describes, and checks that
// its code contains each Go example of that chapter.
func TestBookModule(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs/writing-a-flow.md"))
	if err != nil {
		t.Fatal(err)
	}
	source, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(source, filepath.Join(dir, "vmtb")); err != nil {
		t.Fatal(err)
	}
	var script, examples []string
	for block := range strings.SplitSeq(string(text), "\n```\n") {
		if _, sh, ok := strings.Cut(block, "```sh\n"); ok && strings.Contains(sh, "go mod init") {
			script = append(script, sh)
		} else if _, code, ok := strings.Cut(block, "```go\n"); ok {
			examples = append(examples, code)
		}
	}
	if len(script) != 1 || len(examples) < 2 {
		t.Fatalf("%d scripts, %d examples", len(script), len(examples))
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", script[0]+"\n./acme-vmtb version; ./acme-vmtb list acme")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=-trimpath") // otherwise it cannot use the build cache
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "unknown") ||
		!strings.Contains(string(out), "\nacme::TestWork::test_work[") {
		t.Errorf("%v: %s", err, out)
	}
	code, err := os.ReadFile(filepath.Join(dir, "acme/flows.go"))
	if err != nil {
		t.Fatal(err)
	}
	unindented := strings.ReplaceAll(string(code), "\n\t", "\n")
	for _, example := range examples {
		if example += "\n"; !strings.Contains(string(code), example) && !strings.Contains(unindented, example) {
			t.Errorf("not in the code that was built: %s", example)
		}
	}
}
