package vmtb

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"vmtb/flow"
)

// chapters are the files of the book.
func chapters(t *testing.T) []string {
	t.Helper()
	files := []string{"README.md"}
	for _, pattern := range []string{"docs/*.md", "examples/*/README.md"} {
		more, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	if len(files) < 10 {
		t.Fatalf("only %d files: %q", len(files), files)
	}
	return files
}

// vmtbLine is a command for vmtb.
var vmtbLine = regexp.MustCompile(`^(?:[$#] )?(?:bin/)?vmtb ([a-z].*)$`)

// TestBookCommands: each command line of vmtb in the book's blocks is one that this program takes, flags and all.
func TestBookCommands(t *testing.T) {
	seen := 0
	for _, file := range chapters(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		fenced := false
		for line := range strings.Lines(string(text)) {
			trimmed := strings.TrimSpace(line)
			if strings.HasPrefix(trimmed, "```") {
				fenced = !fenced
				continue
			}
			if !fenced && !strings.HasPrefix(line, "    ") {
				continue
			}
			for _, part := range strings.Split(trimmed, " && ") {
				if m := vmtbLine.FindStringSubmatch(part); m != nil {
					seen++
					checkCommandLine(t, file, m[1])
				}
			}
		}
	}
	if seen < 40 {
		t.Errorf("only %d command lines: does this test still find them?", seen)
	}
}

func checkCommandLine(t *testing.T, file, line string) {
	t.Helper()
	a := &app{out: t.Output(), err: t.Output(), registry: flow.NewRegistry()}
	cmd, rest, err := a.command().Find(shellWords(line))
	if err == nil && cmd.HasSubCommands() {
		t.Errorf("%s: vmtb %s: no such command", file, line)
		return
	}
	if err == nil {
		cmd.InitDefaultHelpFlag()
		err = cmd.ParseFlags(rest)
	}
	if err == nil && !strings.Contains(line, "...") {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err != nil {
		t.Errorf("%s: vmtb %s: %v", file, line, err)
	}
}

// shellWords are the words of a simple command: quotes go, and so does what follows a comment, a pipe, ";" or ">".
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

// TestBookLinks: what the book refers to in this repository is there.
func TestBookLinks(t *testing.T) {
	for _, file := range chapters(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}
