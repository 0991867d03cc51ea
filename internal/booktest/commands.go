package booktest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A Command is a command line in a block of the book, in the shell's notation.
type Command struct {
	File string // below the repository's root
	Line int    // from 1
	Text string // without prompt, comment, and "...", which stands for optional arguments
}

// Chapters returns the files of the book, below the repository's root.
func Chapters(root string) ([]string, error) {
	var chapters []string
	for _, pattern := range []string{"README.md", "docs/*.md", "examples/*/README.md"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			name, err := filepath.Rel(root, file)
			if err != nil {
				return nil, err
			}
			chapters = append(chapters, name)
		}
	}
	return chapters, nil
}

var (
	// These are the programs that the book's commands and CI job descriptions run.
	command = regexp.MustCompile(
		`^(?:[$#] |- |script: |sh ')?(?:bin/)?((?:.* && )?(?:vmtb|\./acme-vmtb|make|go|scp) .*)$`,
	)
	comment = regexp.MustCompile(`\s+# .*$`)
	more    = regexp.MustCompile(` \.\.\.$`)
)

// Commands returns all command lines in the book's blocks, in their order.
func Commands(root string) ([]Command, error) {
	chapters, err := Chapters(root)
	if err != nil {
		return nil, err
	}
	var commands []Command
	for _, chapter := range chapters {
		data, err := os.ReadFile(filepath.Join(root, chapter))
		if err != nil {
			return nil, err
		}
		for _, c := range in(string(data)) {
			c.File = chapter
			commands = append(commands, c)
		}
	}
	return commands, nil
}

// in returns the commands in the fenced and indented blocks of a chapter.
func in(text string) (commands []Command) {
	fenced, n := false, 0
	for line := range strings.Lines(text) {
		n++
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "```") {
			fenced = !fenced
			continue
		}
		if !fenced && !strings.HasPrefix(line, "    ") {
			continue
		}
		m := command.FindStringSubmatch(comment.ReplaceAllString(trimmed, ""))
		if m == nil {
			continue
		}
		text := m[1]
		if strings.HasPrefix(trimmed, "sh '") {
			text = strings.TrimSuffix(text, "'")
		}
		commands = append(commands, Command{Line: n, Text: more.ReplaceAllString(text, "")})
	}
	return commands
}
