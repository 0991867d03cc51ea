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

// A Machine runs commands and holds files: the host under test, or a guest reached through its
// agent. All methods may be called from several goroutines at once.
type Machine interface {
	// String names the machine in messages: "host", "vm0".
	String() string

	// Exec runs c to its end: Start, then [Finish]. If the command ran and failed, the Result has a
	// non-zero ExitCode or a Signal, and the error is nil. The error is for commands that could not
	// be started, watched, or finished in time.
	Exec(ctx context.Context, c Command) (Result, error)

	// Start starts c and does not wait for it. ctx applies only to the start. The process runs
	// until it ends or is killed. Its output arrives in the writers of c, whether the caller waits
	// for it or not.
	Start(ctx context.Context, c Command) (Process, error)

	// ReadFile returns the whole content of a file. A missing file is an error matching
	// [fs.ErrNotExist].
	ReadFile(ctx context.Context, path string) ([]byte, error)

	// WriteFile truncates a file and writes data in one open. It also returns errors that a file
	// system or a driver reports late (at flush or close).
	WriteFile(ctx context.Context, path string, data []byte) error

	// ReadDir lists a directory, sorted by name. A missing directory is an error matching
	// [fs.ErrNotExist].
	ReadDir(ctx context.Context, path string) ([]DirEntry, error)
}

// A DirEntry is one name in a directory. Links are not followed.
type DirEntry struct {
	Name string
	Mode fs.FileMode // type bits only
}

// A Command is a program to run, with its arguments. It is not run by a shell: use [Shell] for
// that.
type Command struct {
	// Program (a path, or a name looked up in the machine's PATH) and its arguments.
	Argv  []string
	Env   []string      // "KEY=value", added to the machine's own environment
	Dir   string        // working directory; "" leaves the choice to the machine
	Stdin []byte        // nil is an empty input
	Grace time.Duration // time between SIGTERM and SIGKILL when ctx ends; 0 is [DefaultGrace]

	// Stdout and Stderr receive the command's output while it runs. All of it arrives, and only a
	// few chunks are in memory at once. A slow writer slows the command down. A writer that fails
	// ends the command, as the end of ctx does, and Exec and Wait return its error. The two writers
	// may be called at the same time. If they are the same writer, both streams arrive in it in the
	// order in which they were written. The output of a stream without a writer (nil) is in the
	// Result.
	Stdout io.Writer
	Stderr io.Writer
}

// DefaultGrace is used for a Command whose Grace is 0.
const DefaultGrace = 2 * time.Second

// OneStream reports whether c's Stdout and Stderr are the same writer.
func (c Command) OneStream() bool {
	defer func() { _ = recover() }() // types that cannot be compared panic: they are two streams
	return c.Stdout != nil && c.Stdout == c.Stderr
}

// Shell returns the command that runs line in /bin/sh.
func Shell(line string) Command { return Command{Argv: []string{"/bin/sh", "-c", line}} }

// String returns the command quoted for a POSIX shell, ready to paste.
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

// A Result says how a command ended.
type Result struct {
	ExitCode int // meaningful when Signal is 0
	Signal   int // the signal that ended it, or 0

	// Stdout and Stderr hold the output of a stream that had no writer in the Command.
	Stdout []byte
	Stderr []byte

	// StdoutTruncated and StderrTruncated report that the end of an output is missing. Either the
	// machine keeps no more of it (16 MiB a stream in qemu-ga, 64 MiB on the host), or a process
	// that the command left behind holds it open.
	StdoutTruncated bool
	StderrTruncated bool
}

// OK reports whether the command exited with code 0.
func (r Result) OK() bool { return r.Signal == 0 && r.ExitCode == 0 }

// Err returns nil for an OK result. Otherwise the error says how c ended and quotes the end of its
// output.
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

// igtCritical is in each line in which an IGT program says why it fails. A backtrace of any length
// follows.
const igtCritical = "-CRITICAL: "

// Gist returns at most n lines of a program's output that say why it failed: IGT's critical lines,
// or the last lines if there are none.
func Gist(text []byte, n int) string {
	var critical []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, igtCritical) && len(critical) < n {
			critical = append(critical, strings.TrimSpace(line))
		}
	}
	return cmp.Or(strings.Join(critical, "\n"), Tail(text, n))
}

// Tail returns the last n lines of text, without white space around them.
func Tail(text []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
