package keep

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// run runs a shell line on this machine, as a guest would.
func run(t *testing.T, line, input string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", line)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return strings.TrimSpace(string(out))
}

// The shell and its programs see the end of input only at the real end (vm shell, cat, Ctrl-D).
// They do not see one between two pieces.
func TestShellInput(t *testing.T) {
	const reads = "a command that reads"
	for name, c := range map[string]struct {
		pieces []string
		want   string
		code   int
	}{
		reads:      {[]string{"echo begin; cat\n", "one\n", "two\n"}, "begin\none\ntwo\n", 0},
		"commands": {[]string{"x=1\n", "echo $x\n", "(exit 7)\n"}, "1\n", 7},
		"an exit":  {[]string{"echo a\n", "exit 5\n"}, "a\n", 5},
		"nothing":  {nil, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := run(t, makeInputs, "")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			shell := exec.CommandContext(ctx, "/bin/sh", "-c", shellLine(dir, false))
			out := lookout{word: "begin", seen: make(chan struct{})}
			shell.Stdout, shell.Stderr = &out, &out
			if err := shell.Start(); err != nil {
				t.Fatal(err)
			}
			for i, p := range c.pieces {
				run(t, "cat >"+dir+"/in", p)
				if name == reads && i == 0 {
					<-out.seen // the shell may take earlier input for a command
				}
			}
			if name != "an exit" {
				run(t, endLine(dir), "")
			}
			_ = shell.Wait() // the test checks the exit code
			if got := shell.ProcessState.ExitCode(); got != c.code || out.String() != c.want {
				t.Errorf("exit code %d, output %q, want %d, %q", got, out.String(), c.code, c.want)
			}
			run(t, removeLine(dir), "")
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("left: %v", err)
			}
		})
	}
}

// A lookout stores the output of one writer, and closes seen when the word has arrived.
type lookout struct {
	said bytes.Buffer // not embedded: its ReadFrom would replace Write
	word string
	seen chan struct{}
	did  bool
}

func (l *lookout) String() string { return l.said.String() }

func (l *lookout) Write(p []byte) (int, error) {
	n, err := l.said.Write(p)
	if !l.did && strings.Contains(l.String(), l.word) {
		l.did = true
		close(l.seen)
	}
	return n, err
}

// A shell with a prompt does not complain about the missing terminal.
func TestShellPrompt(t *testing.T) {
	dash, err := exec.LookPath("dash") // dash behaves as busybox's shell; bash always complains
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(dash, filepath.Join(bin, "sh")); err != nil {
		t.Fatal(err)
	}
	dir := run(t, makeInputs, "")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "/bin/sh", "-c", shellLine(dir, true))
	shell.Env = append(os.Environ(), "PS1=vm0# ", "PATH="+bin+":"+os.Getenv("PATH"))
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal, as for the agent's commands
	var out bytes.Buffer
	shell.Stdout, shell.Stderr = &out, &out
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	run(t, "cat >"+dir+"/in", "echo hi; exit 4\n")
	_ = shell.Wait() // the test checks the exit code
	if got := shell.ProcessState.ExitCode(); got != 4 || out.String() != "vm0# hi\n" {
		t.Errorf("exit code %d, output %q, want 4, %q", got, out.String(), "vm0# hi\n")
	}
	run(t, removeLine(dir), "")
}
