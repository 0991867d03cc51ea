package benchtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"vmtb/bench"
)

func testExec(t *testing.T, m bench.Machine, dir string) {
	argv := func(words ...string) bench.Command { return bench.Command{Argv: words} }
	in := func(c bench.Command, stdin, dir string, env ...string) bench.Command {
		if stdin != "" {
			c.Stdin = []byte(stdin)
		}
		c.Dir, c.Env = dir, env
		return c
	}
	for _, c := range []struct {
		command        bench.Command
		code, signal   int
		stdout, stderr string
	}{
		{argv("true"), 0, 0, "", ""},
		{bench.Shell("echo out; echo err >&2; exit 3"), 3, 0, "out\n", "err\n"},
		{bench.Shell("exit 255"), 255, 0, "", ""},
		{bench.Shell("kill -9 $$"), 0, 9, "", ""},
		{bench.Shell("kill -15 $$"), 0, 15, "", ""},
		{argv("printf", "%s|", "a b", "*", "$HOME", "'\"\\", "", "é\n"), 0, 0, "a b|*|$HOME|'\"\\||é\n|", ""},
		{in(argv("cat"), "x\x00\xff\n", ""), 0, 0, "x\x00\xff\n", ""},
		{argv("cat"), 0, 0, "", ""},
		{in(bench.Shell(`pwd; echo "$A-$B"`), "", dir, "A=1 2", "B="), 0, 0, dir + "\n1 2-\n", ""},
		{in(bench.Shell("cat; exit 7"), "in", "/proc"), 7, 0, "in", ""},
		// Env is added to the environment.
		{in(bench.Shell(`[ -n "$PATH" ] && echo "$X"`), "", "", "X=y"), 0, 0, "y\n", ""},
	} {
		r, err := m.Exec(t.Context(), c.command)
		if err != nil {
			t.Errorf("%v: %v", c.command, err)
		} else if r.Signal != c.signal || r.Signal == 0 && r.ExitCode != c.code || string(
			r.Stdout,
		) != c.stdout || string(r.Stderr) != c.stderr {
			t.Errorf("%v: %+v", c.command, r)
		}
	}
}

func testNotStarted(t *testing.T, m bench.Machine, dir string) {
	for _, c := range []bench.Command{
		{},
		{Argv: []string{"/no/such/program"}},
		{Argv: []string{"no-such-program"}},
		{Argv: []string{"true"}, Dir: "/no/such/directory"},
		{Argv: []string{"/no/such/program"}, Dir: dir},
	} {
		if r, err := m.Exec(t.Context(), c); err == nil {
			t.Errorf("%q in %q: %+v", c.Argv, c.Dir, r)
		}
	}
}

// testTimeout tests a command that takes too long: all its processes have ended when Exec returns,
// after SIGTERM if that suffices.
func testTimeout(t *testing.T, m bench.Machine, dir string) {
	file := dir + "/" + rand.Text()
	script := fmt.Sprintf(`(trap "" TERM; echo 1 >%[1]s.child; while :; do sleep 0.2; echo x >>%[1]s.alive; done) &
trap 'echo polite >%[1]s.polite; exit' TERM
echo $$ >%[1]s.ready
while :; do sleep 0.1; done`, file)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		defer cancel()
		for t.Context().Err() == nil {
			_, err1 := m.ReadFile(t.Context(), file+".alive")
			_, err2 := m.ReadFile(t.Context(), file+".ready")
			if err1 == nil && err2 == nil {
				return
			}
			wait(t.Context(), 10*time.Millisecond)
		}
	}()
	c := bench.Shell(script)
	c.Grace = 500 * time.Millisecond
	start := time.Now()
	if r, err := m.Exec(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", r, err)
	}
	t.Logf("ended after %v", time.Since(start))
	if data, err := m.ReadFile(t.Context(), file+".polite"); string(data) != "polite\n" {
		t.Errorf("no SIGTERM came first: %q, %v", data, err)
	}
	before, err := m.ReadFile(t.Context(), file+".alive")
	wait(t.Context(), time.Second)
	after, err2 := m.ReadFile(t.Context(), file+".alive")
	if err := errors.Join(err, err2); err != nil || len(after) != len(before) {
		t.Errorf("a descendant lives: %d, then %d bytes, %v", len(before), len(after), err)
	}
}

func testAtOnce(t *testing.T, m bench.Machine, dir string) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			name, data := fmt.Sprintf("%s/at-once-%d", dir, i), []byte(strings.Repeat(strconv.Itoa(i), 1000*i))
			if err := m.WriteFile(t.Context(), name, data); err != nil {
				t.Error(err)
				return
			}
			r, err := m.Exec(t.Context(), bench.Shell(fmt.Sprintf("cat %s; exit %d", name, i)))
			got, err2 := m.ReadFile(t.Context(), name)
			if err := errors.Join(err, err2); err != nil || r.ExitCode != i || !bytes.Equal(r.Stdout, data) ||
				!bytes.Equal(got, data) {
				t.Errorf("%d: exit code %d, %d and %d bytes, %v", i, r.ExitCode, len(r.Stdout), len(got), err)
			}
		})
	}
	wg.Wait()
}

func testBigOutput(t *testing.T, m bench.Machine, _ string) {
	const size = 1 << 20
	r, err := m.Exec(
		t.Context(), bench.Shell(fmt.Sprintf("head -c %d /dev/zero; head -c %d /dev/zero >&2", size, size/2)),
	)
	if err != nil || len(r.Stdout) != size || len(r.Stderr) != size/2 || r.StdoutTruncated || r.StderrTruncated {
		t.Errorf(
			"%d and %d bytes, truncated %v %v, %v", len(r.Stdout), len(r.Stderr), r.StdoutTruncated, r.StderrTruncated,
			err,
		)
	}
}

// testInput tests large inputs of any bytes, whether the command reads them or not.
func testInput(t *testing.T, m bench.Machine, dir string) {
	for _, n := range []int{1, 64<<10 + 1, 1<<20 + 1, 5 << 20} {
		c := bench.Command{Argv: []string{"cat"}, Stdin: pattern(n)}
		if r, err := m.Exec(t.Context(), c); err != nil || !r.OK() || !bytes.Equal(r.Stdout, c.Stdin) {
			t.Errorf("%d bytes: %d came back, %v", n, len(r.Stdout), err)
		}
		c = bench.Command{Argv: []string{"sh", "-c", "exec head -c 1"}, Stdin: c.Stdin, Dir: dir}
		if r, err := m.Exec(t.Context(), c); err != nil || !r.OK() || len(r.Stdout) != 1 {
			t.Errorf("one of %d bytes: %+v, %v", n, r, err)
		}
		c.Argv = []string{"true"}
		if r, err := m.Exec(t.Context(), c); err != nil || !r.OK() {
			t.Errorf("none of %d bytes: %+v, %v", n, r, err)
		}
	}
	var out bytes.Buffer
	c := bench.Command{Argv: []string{"cat"}, Stdin: pattern(2 << 20), Stdout: &out}
	if r, err := m.Exec(t.Context(), c); err != nil || !r.OK() || !bytes.Equal(out.Bytes(), c.Stdin) {
		t.Errorf("through a writer: %d bytes, %+v, %v", out.Len(), r, err)
	}
}

// testCut tests output that is too large to be captured: it is cut, the Result says so, and the
// command ends normally.
func testCut(t *testing.T, m bench.Machine, _ string) {
	const least, size = 16 << 20, 66 << 20
	r, err := m.Exec(t.Context(), bench.Shell(fmt.Sprintf("head -c %d /dev/zero; echo end >&2; exit 9", size)))
	if err != nil || r.ExitCode != 9 || !r.StdoutTruncated || r.StderrTruncated || string(r.Stderr) != "end\n" {
		t.Errorf("exit code %d, truncated %v, %v, %v", r.ExitCode, r.StdoutTruncated, r.StderrTruncated, err)
	}
	if len(r.Stdout) < least || len(r.Stdout) >= size {
		t.Errorf("%d bytes", len(r.Stdout))
	}
}
