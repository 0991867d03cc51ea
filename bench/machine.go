package bench

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
)

// A Machine runs commands and holds files: the host under test, or a guest reached through its agent.
// All methods may be called from several goroutines at once.
type Machine interface {
	// String names the machine in messages: "host", "vm0".
	String() string

	// Exec runs c to its end: Start, then [Finish]. A command that ran and failed is a Result with a non-zero ExitCode
	// or a Signal and a nil error; the error is for commands that could not be started, watched or finished in time.
	Exec(ctx context.Context, c Command) (Result, error)

	// Start starts c and does not wait for it; ctx is for the start alone. The process goes on until it ends or is
	// killed, and its output arrives in the writers of c, whether somebody waits for it or not.
	Start(ctx context.Context, c Command) (Process, error)

	// ReadFile returns a whole file, whatever bytes it holds. A missing file is an error matching [fs.ErrNotExist].
	ReadFile(ctx context.Context, path string) ([]byte, error)

	// WriteFile writes the whole of data in one open, truncating what was there. Errors that a file system or a
	// driver reports late (at flush or close) are returned too.
	WriteFile(ctx context.Context, path string, data []byte) error

	// ReadDir lists a directory, sorted by name. A missing directory is an error matching [fs.ErrNotExist].
	ReadDir(ctx context.Context, path string) ([]DirEntry, error)
}

// A DirEntry is one name in a directory. Links are not followed.
type DirEntry struct {
	Name string
	Mode fs.FileMode // type bits only
}

// A Command is what to run. There is no shell in between: use [Shell] to ask for one.
type Command struct {
	Argv  []string      // program (a path, or a name looked up in the machine's PATH) and its arguments
	Env   []string      // "KEY=value" added to the machine's own environment
	Dir   string        // working directory; "" is the machine's own choice
	Stdin []byte        // nil is an empty input
	Grace time.Duration // between the polite and the final kill when ctx ends; 0 is [DefaultGrace]

	// What the command writes goes to these while it runs: all of it, whatever its size, with no
	// more than some chunks of it in memory. A writer that is slow slows the command down. One that
	// fails ends the command, as the end of ctx does, and its error is that of Exec and Wait. Both
	// may be called at the same time, unless they are the same writer: then both streams arrive in
	// it in the order in which they were written. Without a writer (nil) the output is in the
	// Result.
	Stdout io.Writer
	Stderr io.Writer
}

// DefaultGrace is the Grace of a Command that has none of its own.
const DefaultGrace = 2 * time.Second

// OneStream reports whether both streams go to the same writer.
func (c Command) OneStream() bool {
	defer func() { _ = recover() }() // writers of a type that cannot be compared: two streams
	return c.Stdout != nil && c.Stdout == c.Stderr
}

// Shell is the command that gives line to /bin/sh.
func Shell(line string) Command { return Command{Argv: []string{"/bin/sh", "-c", line}} }

// String is the command as a person would type it; it can be pasted into a shell.
func (c Command) String() string {
	words := make([]string, len(c.Argv))
	for i, w := range c.Argv {
		words[i] = Quote(w)
	}
	return strings.Join(words, " ")
}

// Quote returns word as one word of a POSIX shell.
func Quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
			strings.ContainsRune("_-./:=,+@%", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// A Result is how a command ended.
type Result struct {
	ExitCode int // meaningful when Signal is 0
	Signal   int // the signal that ended it, or 0

	// The output that had no writer of its own in the Command.
	Stdout []byte
	Stderr []byte

	// Truncated output lost its end: the machine's channel keeps only so much (16 MiB a stream in
	// qemu-ga, 64 MiB on the host), or a process that the command left behind holds it open.
	StdoutTruncated bool
	StderrTruncated bool
}

// OK reports an exit with code 0.
func (r Result) OK() bool { return r.Signal == 0 && r.ExitCode == 0 }

// Err is nil for an OK result, else an error that names how c ended and quotes the end of what it wrote.
func (r Result) Err(c Command) error {
	if r.OK() {
		return nil
	}
	how := fmt.Sprintf("exit code %d", r.ExitCode)
	if r.Signal != 0 {
		how = fmt.Sprintf("killed by signal %d", r.Signal)
	}
	text := r.Stderr
	if len(text) == 0 {
		text = r.Stdout
	}
	if said := Gist(text, 5); said != "" {
		return fmt.Errorf("%s: %s: %s", c, how, said)
	}
	return fmt.Errorf("%s: %s", c, how)
}

// igtCritical is in each line of an IGT program that says why it fails. A backtrace of any length follows.
const igtCritical = "-CRITICAL: "

// Gist returns the lines of a program's output that say why it failed, n at most: those that IGT
// calls critical, else the last.
func Gist(text []byte, n int) string {
	var critical []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, igtCritical) && len(critical) < n {
			critical = append(critical, strings.TrimSpace(line))
		}
	}
	return cmp.Or(strings.Join(critical, "\n"), Tail(text, n))
}

// Tail is the last n lines of text, without the white space around them.
func Tail(text []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
