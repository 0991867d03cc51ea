package benchtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"vmtb/bench"
)

// Machine runs all tests on m, in a directory of their own that they remove.
func Machine(t *testing.T, m bench.Machine) {
	t.Helper()
	if m.String() == "" {
		t.Error("the machine has no name")
	}
	dir := "/tmp/benchtest-" + rand.Text()
	run(t, m, "mkdir "+dir)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if r, err := m.Exec(ctx, bench.Shell("rm -rf "+dir)); err != nil || !r.OK() {
			t.Errorf("remove %s: %+v, %v", dir, r, err)
		}
	})
	for name, test := range map[string]func(*testing.T, bench.Machine, string){
		"exec": testExec, "not started": testNotStarted, "timeout": testTimeout, "at once": testAtOnce, "big output": testBigOutput,
		"files": testFiles, "missing": testMissing, "directory": testReadDir, "proc": testProc,
	} {
		t.Run(name, func(t *testing.T) { test(t, m, dir) })
	}
}

// run runs a line that must succeed.
func run(t *testing.T, m bench.Machine, line string) {
	t.Helper()
	r, err := m.Exec(t.Context(), bench.Shell(line))
	if err == nil {
		err = r.Err(bench.Shell(line))
	}
	if err != nil {
		t.Fatal(err)
	}
}

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
		{in(bench.Shell(`[ -n "$PATH" ] && echo "$X"`), "", "", "X=y"), 0, 0, "y\n", ""}, // Env is added to the environment
	} {
		r, err := m.Exec(t.Context(), c.command)
		if err != nil {
			t.Errorf("%v: %v", c.command, err)
		} else if r.Signal != c.signal || r.Signal == 0 && r.ExitCode != c.code || string(r.Stdout) != c.stdout || string(r.Stderr) != c.stderr {
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

// testTimeout: all processes of a command that takes too long are gone when Exec returns, politely if they will.
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

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
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
			if err := errors.Join(err, err2); err != nil || r.ExitCode != i || !bytes.Equal(r.Stdout, data) || !bytes.Equal(got, data) {
				t.Errorf("%d: exit code %d, %d and %d bytes, %v", i, r.ExitCode, len(r.Stdout), len(got), err)
			}
		})
	}
	wg.Wait()
}

func testBigOutput(t *testing.T, m bench.Machine, _ string) {
	const size = 1 << 20
	r, err := m.Exec(t.Context(), bench.Shell(fmt.Sprintf("head -c %d /dev/zero; head -c %d /dev/zero >&2", size, size/2)))
	if err != nil || len(r.Stdout) != size || len(r.Stderr) != size/2 || r.StdoutTruncated || r.StderrTruncated {
		t.Errorf("%d and %d bytes, truncated %v %v, %v", len(r.Stdout), len(r.Stderr), r.StdoutTruncated, r.StderrTruncated, err)
	}
}

func testFiles(t *testing.T, m bench.Machine, dir string) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for name, data := range map[string][]byte{
		"empty": {}, "a name with 'blanks'": []byte("x"), "bytes": all, "chunk": bytes.Repeat(all, 256), "chunk+1": append(bytes.Repeat(all, 256), 1),
		"big": bytes.Repeat(all, 4<<10),
	} {
		file := dir + "/" + name
		for _, content := range [][]byte{append(data, all...), data} { // the second is shorter
			if err := m.WriteFile(t.Context(), file, content); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if got, err := m.ReadFile(t.Context(), file); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s: %d of %d bytes, or others, %v", name, len(got), len(content), err)
			}
		}
	}
	if err := m.WriteFile(t.Context(), "/dev/full", []byte("x")); err == nil {
		t.Error("a full disk is no error")
	}
	if err := m.WriteFile(t.Context(), dir, []byte("x")); err == nil {
		t.Error("a directory was written to")
	}
}

func testMissing(t *testing.T, m bench.Machine, dir string) {
	if _, err := m.ReadFile(t.Context(), dir+"/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadFile: %v", err)
	}
	if err := m.WriteFile(t.Context(), dir+"/none/file", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("WriteFile: %v", err)
	}
	if _, err := m.ReadDir(t.Context(), dir+"/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadDir: %v", err)
	}
	if _, err := m.ReadFile(t.Context(), dir); err == nil {
		t.Error("ReadFile of a directory")
	}
	run(t, m, ": >"+dir+"/regular")
	if _, err := m.ReadDir(t.Context(), dir+"/regular"); err == nil {
		t.Error("ReadDir of a file")
	}
}

func testReadDir(t *testing.T, m bench.Machine, dir string) {
	dir += "/list"
	run(t, m, fmt.Sprintf("mkdir %[1]s %[1]s/dir; cd %[1]s; : >file; : >.hidden; : >'a b*'; ln -s file link; ln -s none dangling; mkfifo pipe", dir))
	want := []bench.DirEntry{
		{Name: ".hidden"},
		{Name: "a b*"},
		{Name: "dangling", Mode: fs.ModeSymlink},
		{Name: "dir", Mode: fs.ModeDir},
		{Name: "file"},
		{Name: "link", Mode: fs.ModeSymlink},
		{Name: "pipe", Mode: fs.ModeNamedPipe},
	}
	if got, err := m.ReadDir(t.Context(), dir); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := m.ReadDir(t.Context(), dir+"/dir"); err != nil || len(got) > 0 {
		t.Errorf("empty: %v, %v", got, err)
	}
}

// testProc: the kernel's files, whose size is 0, are read whole.
func testProc(t *testing.T, m bench.Machine, _ string) {
	if data, err := m.ReadFile(t.Context(), "/proc/kallsyms"); err != nil || len(data) < 100_000 {
		t.Errorf("/proc/kallsyms: %d bytes, %v", len(data), err)
	}
	if data, err := m.ReadFile(t.Context(), "/proc/sys/kernel/random/boot_id"); err != nil || len(data) != 37 {
		t.Errorf("boot_id %q, %v", data, err)
	}
}
