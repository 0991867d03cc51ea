package benchtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"vmtb/bench"
)

// pattern returns n bytes in which all values occur and no part repeats. It is the same in each
// run.
func pattern(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data)
	return data
}

// testStreams tests that a command behaves the same with writers as without.
func testStreams(t *testing.T, m bench.Machine, dir string) {
	for _, c := range []struct {
		line         string
		code, signal int
		out, err     string
	}{
		{"true", 0, 0, "", ""},
		{"echo out; echo err >&2; exit 3", 3, 0, "out\n", "err\n"},
		{"printf out; exit 255", 255, 0, "out", ""},
		{"printf err >&2; kill -9 $$", 0, 9, "", "err"},
		{`printf '\000\377\n\r\033'; printf '\000\377\n\r\033' >&2`, 0, 0, "\x00\xff\n\r\x1b", "\x00\xff\n\r\x1b"},
		{`pwd; echo "$A$PATH"; cat`, 0, 0, dir + "\nb/none\nin", ""}, // independent of PATH
		{"(sleep 0.3; echo late) & exit 4", 4, 0, "late\n", ""},
	} {
		command := bench.Shell(c.line)
		if strings.Contains(c.line, "PATH") {
			command.Argv[2] = strings.Replace(c.line, "cat", "exec /bin/cat", 1)
			command.Dir, command.Env, command.Stdin = dir, []string{"A=b", "PATH=/none"}, []byte("in")
		}
		for which := 1; which <= 3; which++ {
			r, err := execInto(t, m, command, which)
			if err != nil || r.Signal != c.signal || c.signal == 0 && r.ExitCode != c.code ||
				string(r.Stdout) != c.out || string(r.Stderr) != c.err {
				t.Errorf("%s, writers %d: %+v, %v", c.line, which, r, err)
			}
		}
	}
	for _, c := range []bench.Command{
		{Argv: []string{"/no/such/program"}},
		{Argv: []string{"no-such-program"}},
		{Argv: []string{"true"}, Dir: "/no/such/directory"},
	} {
		var out bytes.Buffer
		c.Stdout, c.Stderr = &out, &out
		if r, err := m.Exec(t.Context(), c); err == nil || out.Len() > 0 {
			t.Errorf("%s in %q: %+v, %q", c, c.Dir, r, &out)
		}
	}
}

// execInto runs c with a writer for stdout (1), stderr (2) or both (3), and returns the outputs in
// the Result.
func execInto(t *testing.T, m bench.Machine, c bench.Command, which int) (bench.Result, error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if which&1 != 0 {
		c.Stdout = &stdout
	}
	if which&2 != 0 {
		c.Stderr = &stderr
	}
	r, err := m.Exec(t.Context(), c)
	if which&1 != 0 && len(r.Stdout) > 0 || which&2 != 0 && len(r.Stderr) > 0 {
		t.Errorf("%s, writers %d: captured, too: %q, %q", c, which, r.Stdout, r.Stderr)
	}
	r.Stdout, r.Stderr = append(stdout.Bytes(), r.Stdout...), append(stderr.Bytes(), r.Stderr...)
	return r, err
}

// testHuge tests that an output larger than every capture limit arrives completely, and a second
// output beside it.
func testHuge(t *testing.T, m bench.Machine, dir string) {
	const times = 40
	part := pattern(1<<20 + 13)
	if err := m.WriteFile(t.Context(), dir+"/part", part); err != nil {
		t.Fatal(err)
	}
	out, words := &repeated{part: part}, &repeated{part: part}
	c := bench.Shell(
		fmt.Sprintf(
			"i=0; while [ $i -lt %d ]; do cat part; [ $((i %% 8)) != 0 ] || cat part >&2; i=$((i+1)); done", times,
		),
	)
	c.Dir, c.Stdout, c.Stderr = dir, out, words
	r, err := m.Exec(t.Context(), c)
	if err != nil || !r.OK() || r.StdoutTruncated || r.StderrTruncated {
		t.Errorf("%+v, %v", r, err)
	}
	if out.n != times*len(part) || words.n != times/8*len(part) {
		t.Errorf("%d and %d bytes came", out.n, words.n)
	}
	t.Logf("the largest write had %d bytes", out.largest)
	if out.largest > 1<<20 {
		t.Error("the output is not passed on in chunks")
	}
}

// A repeated writer fails unless all it gets is one text, repeated.
type repeated struct {
	part       []byte
	n, largest int
}

func (w *repeated) Write(p []byte) (int, error) {
	w.largest = max(w.largest, len(p))
	for rest := p; len(rest) > 0; {
		want := w.part[w.n%len(w.part):]
		k := min(len(rest), len(want))
		if !bytes.Equal(rest[:k], want[:k]) {
			return 0, fmt.Errorf("other bytes than expected in the %d after %d", k, w.n)
		}
		rest, w.n = rest[k:], w.n+k
	}
	return len(p), nil
}

// testOneWriter tests that two streams with the same writer keep their order.
func testOneWriter(t *testing.T, m bench.Machine, _ string) {
	var both, want bytes.Buffer
	c := bench.Shell("i=0; while [ $i -lt 300 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done")
	c.Stdout, c.Stderr = &both, &both
	r, err := m.Exec(t.Context(), c)
	for i := range 300 {
		fmt.Fprintf(&want, "out %d\nerr %d\n", i, i)
	}
	if err != nil || !r.OK() || both.String() != want.String() {
		t.Errorf("%+v, %v: %d bytes, want %d", r, err, both.Len(), want.Len())
	}
}

// testLive tests that output arrives before the command ends: the command waits until the test has
// seen it.
func testLive(t *testing.T, m bench.Machine, dir string) {
	for _, stream := range []string{"1", "2"} {
		r, w := io.Pipe()
		c := bench.Shell("printf one; until [ -e live" + stream + " ]; do sleep 0.05; done; printf two")
		c.Dir = dir
		if stream == "1" {
			c.Stdout = w
		} else {
			c.Argv[2] = "exec >&2; " + c.Argv[2]
			c.Stderr = w
		}
		p, err := m.Start(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"one", "two"} {
			got := make([]byte, 3)
			if _, err := io.ReadFull(r, got); err != nil || string(got) != word {
				t.Errorf("%q, %v", got, err)
			}
			if err := m.WriteFile(t.Context(), dir+"/live"+stream, nil); err != nil {
				t.Error(err)
			}
		}
		if r, err := p.Wait(t.Context()); err != nil || !r.OK() {
			t.Errorf("%+v, %v", r, err)
		}
	}
}

var errFull = errors.New("the writer is full")

// A narrow writer accepts room bytes, and then fails.
type narrow struct{ room int }

func (w *narrow) Write(p []byte) (int, error) {
	n := min(len(p), w.room)
	w.room -= n
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

// testWriterFails tests that the command and its descendants end when a writer fails, whether more
// output follows or not.
func testWriterFails(t *testing.T, m bench.Machine, dir string) {
	for name, line := range map[string]string{
		"talks":  "while :; do echo more and more; done",
		"silent": "echo something; sleep 1000",
		"child":  "(trap '' TERM PIPE; echo $$ something; while :; do sleep 0.1; done); true",
	} {
		for _, stream := range []string{"out", "err"} {
			file := "fails-" + name + "-" + stream
			c := bench.Shell("echo $$ >" + file + "; " + line)
			c.Dir, c.Grace = dir, bench.DefaultGrace/8
			if stream == "out" {
				c.Stdout = &narrow{room: 5}
			} else {
				c.Argv[2] = "exec >&2; " + c.Argv[2]
				c.Stderr = &narrow{room: 5}
			}
			if r, err := m.Exec(t.Context(), c); !errors.Is(err, errFull) || r.OK() {
				t.Errorf("%s: %+v, %v", file, r, err)
			}
			if r, err := m.Exec(
				t.Context(), bench.Shell(fmt.Sprintf("! kill -0 $(cat %s/%s)", dir, file)),
			); err != nil || !r.OK() {
				t.Errorf("%s: the command lives: %+v, %v", file, r, err)
			}
			// A command that was started and that nobody waits for ends all the same.
			if stream == "out" {
				c.Stdout = &narrow{room: 5}
				p, err := m.Start(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := p.Wait(t.Context()); !errors.Is(err, errFull) {
					t.Errorf("%s: %v", file, err)
				}
				if err := p.Signal(t.Context(), 15); !errors.Is(err, os.ErrProcessDone) {
					t.Errorf("%s: %v", file, err)
				}
			}
		}
	}
}

func testStreamsAtOnce(t *testing.T, m bench.Machine, dir string) {
	part := pattern(100_000)
	if err := m.WriteFile(t.Context(), dir+"/at once", part); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			out, words := &repeated{part: part}, bytes.Buffer{}
			c := bench.Shell(fmt.Sprintf("cat 'at once' 'at once'; echo %d >&2; exit %d", i, i))
			c.Dir, c.Stdout, c.Stderr = dir, out, &words
			r, err := m.Exec(t.Context(), c)
			if err != nil || r.ExitCode != i || out.n != 2*len(part) || words.String() != fmt.Sprintln(i) {
				t.Errorf("%d: %+v, %v, %d bytes, %q", i, r, err, out.n, &words)
			}
		})
	}
	wg.Wait()
}
