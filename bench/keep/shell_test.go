package keep

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// run runs a line of shell here, as a guest would.
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

// The end of the input is one for the shell, and for what runs in it (vm shell, cat, Ctrl-D). Between two pieces there is none.
func TestShellInput(t *testing.T) {
	for name, c := range map[string]struct {
		pieces []string
		want   string
		code   int
	}{
		"a command that reads": {[]string{"echo begin; cat\n", "one\n", "two\n"}, "begin\none\ntwo\n", 0},
		"commands":             {[]string{"x=1\n", "echo $x\n", "(exit 7)\n"}, "1\n", 7},
		"an exit":              {[]string{"echo a\n", "exit 5\n"}, "a\n", 5},
		"nothing":              {nil, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := run(t, makeInputs, "")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			shell := exec.CommandContext(ctx, "/bin/sh", "-c", shellLine(dir, false))
			var out bytes.Buffer
			shell.Stdout, shell.Stderr = &out, &out
			if err := shell.Start(); err != nil {
				t.Fatal(err)
			}
			for _, p := range c.pieces {
				run(t, "cat >"+dir+"/in", p)
			}
			if name != "an exit" {
				run(t, endLine(dir), "")
			}
			_ = shell.Wait() // its exit code is looked at
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
