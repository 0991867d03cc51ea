package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vmtb/bench/work"
)

// A labMachine is a machine with the stand-in driver, as debugfs shows it. Its clock is a fake.
type labMachine struct {
	system
	out, err bytes.Buffer
}

func newLab(t *testing.T, share string, gts ...string) *labMachine {
	t.Helper()
	l := &labMachine{}
	dir := t.TempDir()
	l.system = system{stdout: &l.out, stderr: &l.err, debugfs: dir, drive: func(
		e *engine, share func() (float64, error),
	) error {
		return drive(e, share, func() time.Duration { return tick })
	}}
	if share == "" {
		return l
	}
	for _, minor := range []string{"1", "128"} { // the wrong one may be the first by name
		root := filepath.Join(dir, "dri", minor)
		for _, sub := range append([]string{"standin"}, gts...) {
			if err := os.MkdirAll(filepath.Join(root, sub), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(
			filepath.Join(root, "standin/gpu_time"), []byte(map[string]string{"1": share, "128": "bad"}[minor]), 0o644,
		); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

const (
	gt0 = "tile0/gt0"
	gt1 = "tile0/gt1"
)

// The editor runs until the end of its input, and prints that it is a stand-in.
func TestEditor(t *testing.T) {
	l := newLab(t, "")
	in, end := io.Pipe()
	l.stdin = in
	code := make(chan int)
	go func() { code <- l.run([]string{"/usr/bin/vim", "migrate.txt"}) }()
	if _, err := end.Write([]byte("x")); err != nil { // it still reads
		t.Fatal(err)
	}
	if err := end.Close(); err != nil {
		t.Fatal(err)
	}
	if got := <-code; got != 0 || !strings.Contains(l.out.String(), notice) {
		t.Errorf("exit code %d, %q", got, l.out.String())
	}
}

func TestIGT(t *testing.T) {
	const head = "IGT-Version: 2.5-vmtb-lab-stand-in (amd64) (vmtb lab stand-in: no GPU executes anything)\n"
	for _, tt := range []struct {
		name  string
		share string // "" is no GPU
		gts   []string
		argv  []string
		code  int
		out   string
		err   string // part of the error
	}{
		{"list", "", nil, []string{"/x/xe_ccs", "--list-subtests"}, 0, "block-copy-compressed\n", ""},
		{"test list", "", nil, []string{"/x/xe_ccs", "--show-testlist"}, 0, "igt@xe_ccs@block-copy-compressed\n", ""},
		{
			"half of the GPU", "500000\n",
			[]string{gt0},
			[]string{"/x/xe_exec_store", "--run-subtest", "basic-store"},
			0, head + "Starting subtest: basic-store\nSubtest basic-store: SUCCESS (0.100s)\n", "",
		},
		{
			"with =", "1000000\n",
			[]string{gt0},
			[]string{"xe_exec_store", "--debug=x", "--run-subtest=basic-*"},
			0,
			head + "Starting subtest: basic-store\nSubtest basic-store: SUCCESS (0.050s)\n", "",
		},
		{
			"all", "1000000\n",
			[]string{gt0},
			[]string{"xe_exec_basic"},
			0,
			head + "Starting subtest: once-basic\nSubtest once-basic: SUCCESS (0.050s)\n", "",
		},
		{
			"no GPU", "", nil,
			[]string{"xe_exec_store", "--run-subtest", "basic-store"},
			77,
			head +
				"Test requirement not met: no GPU of the stand-in driver xe found\n" +
				"Subtest basic-store: SKIP (0.000s)\n",
			"",
		},
		{"no media GT", "1000000\n", []string{gt0}, []string{
			"xe_exec_reset", "--run-subtest", "*gt1-threads",
		}, 77, head +
			"Starting subtest: long-spin-many-preempt-gt1-threads\nTest requirement not met: the device has no GT " +
			"1\nSubtest long-spin-many-preempt-gt1-threads: SKIP (0.000s)\n" +
			"Starting subtest: long-spin-reuse-many-preempt-gt1-threads\nTest requirement not met: the device has no " +
			"GT 1\nSubtest long-spin-reuse-many-preempt-gt1-threads: SKIP (0.000s)\n", ""},
		{"one skip, one success", "1000000\n", []string{gt0}, []string{
			"xe_exec_reset", "--run-subtest", "long-spin-many-preempt*,!*threads",
		}, 0, head +
			"Starting subtest: long-spin-many-preempt\nSubtest long-spin-many-preempt: SUCCESS (12.000s)\n" +
			"Starting subtest: long-spin-many-preempt-media\nTest requirement not met: the device has no GT " +
			"1\nSubtest long-spin-many-preempt-media: SKIP (0.000s)\n", ""},
		{
			"unknown subtest", "1000000\n",
			[]string{gt0, gt1},
			[]string{"xe_exec_store", "--run-subtest", "nosuch"},
			79, head, "Unknown subtest: nosuch",
		},
		{
			"unknown option", "1000000\n", nil,
			[]string{"xe_exec_store", "--device", "x"},
			79, "",
			"unrecognized option '--device'\nUsage: xe_exec_store",
		},
		{"no argument", "1000000\n", nil, []string{"xe_exec_store", "--run-subtest"}, 79, "", "requires an argument"},
		{"version", "", nil, []string{"xe_exec_store", "--version"}, 0, head, ""},
		{"not a name of it", "", nil, []string{"/x/standin"}, 79, "", "vmtb lab stand-in"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, tt.share, tt.gts...)
			code := l.run(tt.argv)
			if code != tt.code || l.out.String() != tt.out || !strings.Contains(l.err.String(), tt.err) ||
				tt.err == "" && l.err.Len() > 0 {
				t.Errorf(
					"exit code %d, want %d\nstdout %q\nwant   %q\nstderr %q", code, tt.code, l.out.String(), tt.out,
					l.err.String(),
				)
			}
		})
	}
}

// If the driver goes away, the running test fails. igt_runner finds its lines on stderr, too.
func TestIGTFails(t *testing.T) {
	l := newLab(t, "1000000\n", gt0)
	l.sentinels = true
	l.drive = func(*engine, func() (float64, error)) error { return errors.New("gone") }
	code := l.run([]string{"xe_spin_batch", "--run-subtest", "spin-basic"})
	if code != exitFailure || !strings.Contains(l.out.String(), "Subtest spin-basic: FAIL (0.") ||
		!strings.HasPrefix(l.err.String(), "Starting subtest: spin-basic\n") ||
		!strings.Contains(l.err.String(), "\nSubtest spin-basic: FAIL (0.") ||
		!strings.Contains(l.err.String(), "gone") {
		t.Errorf("%d\n%s\n%s", code, l.out.String(), l.err.String())
	}
}

// Every test that bench/work uses exists here, and every test here is used.
func TestAllTests(t *testing.T) {
	var have, want []string
	for _, p := range programs {
		for _, s := range p.subtests {
			have = append(have, "igt@"+p.name+"@"+s.name)
		}
	}
	for _, tt := range work.TestTypes() {
		name, err := tt.Test("xe")
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, name)
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("have %q\nwant %q", have, want)
	}
	l := newLab(t, "")
	if code := l.run([]string{"standin", "--names"}); code != 0 ||
		strings.Count(l.out.String(), "\n") != len(programs)+1 ||
		!strings.Contains(l.out.String(), "\nbenchmarks/gem_wsim\n") {
		t.Errorf("%d, %q", code, l.out.String())
	}
}

func TestWsim(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.wsim")
	if err := os.WriteFile(file, []byte("# comment\n1.DEFAULT.10000.0.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const notice = "gem_wsim: vmtb lab stand-in: no GPU executes anything\n"
	for _, tt := range []struct {
		name  string
		share string
		args  string // separated by blanks
		code  int
		out   string
		err   string
	}{
		{
			"descriptor", "1000000", "-w 1.DEFAULT.5000.0.0,2.DEFAULT.5000.-1.1 -c 1 -r 1000", 0,
			notice + "10.000s elapsed (100.000 workloads/s)\n", "",
		},
		{
			"half", "500000", "-r 1000 -w 1.DEFAULT.5000.0.0,2.DEFAULT.5000.-1.1", 0,
			notice + "20.000s elapsed (50.000 workloads/s)\n", "",
		},
		{
			"file, clients", "1000000", "-w " + file + " -c2 -r 50", 0,
			notice + "1.000s elapsed (100.000 workloads/s)\n", "",
		},
		{
			"scaled", "1000000", "-w 1.DEFAULT.10000.0.1,d.10000 -f 0.5 -F 2 -r 10", 0,
			notice + "0.250s elapsed (40.000 workloads/s)\n", "",
		},
		{"quiet", "1000000", "-q -w " + file, 0, "", ""},
		{"no GPU", "", "-w " + file, 1, "", "no GPU"},
		{"bad share", "2000000", "-w " + file, 1, notice, "not a share in parts per million"},
		{"no file", "1000000", "-w /no/such.wsim", 1, "", "does not support this step"},
		{"no workload", "1000000", "-r 3", 1, "", "No workload descriptor"},
		{"two", "1000000", "-w " + file + " -w " + file, 1, "", "only one workload"},
		{"no number", "1000000", "-w " + file + " -c 0", 1, "", `-c: "0" is not a number`},
		{"no factor", "1000000", "-w " + file + " -F NaN", 1, "", `-F: "NaN" is not a number`},
		{"unknown", "1000000", "-w " + file + " -W x", 1, "", `not support option "-W"`},
		{"torn", "1000000", "-w", 1, "", "-w wants a value"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, tt.share)
			code := l.run(append([]string{"/x/gem_wsim"}, strings.Fields(tt.args)...))
			if code != tt.code || l.out.String() != tt.out || !strings.Contains(l.err.String(), tt.err) ||
				tt.err == "" && l.err.Len() > 0 {
				t.Errorf(
					"exit code %d, want %d\nstdout %q\nwant   %q\nstderr %q", code, tt.code, l.out.String(), tt.out,
					l.err.String(),
				)
			}
			if _, err := work.ParseWsim(l.out.String()); (err == nil) != (code == 0 && tt.name != "quiet") {
				t.Errorf("bench/work reads it as %v", err)
			}
		})
	}
	l := newLab(t, "")
	if code := l.run([]string{"gem_wsim", "-h"}); code != 0 || !strings.Contains(l.out.String(), "stand-in") {
		t.Errorf("help: %d, %q", code, l.out.String())
	}
}

// With the real clock, a run takes at least as long as its work.
func TestRealClock(t *testing.T) {
	l := newLab(t, "500000")
	l.drive = driveByClock
	start := time.Now()
	if code := l.run([]string{"gem_wsim", "-w", "1.DEFAULT.10000.0.1", "-r", "5"}); code != 0 ||
		time.Since(start) < 100*time.Millisecond {
		t.Errorf("%d after %v: %q", code, time.Since(start), l.err.String())
	}
}

func TestNoDebugfs(t *testing.T) {
	if _, err := openGPU(filepath.Join(t.TempDir(), "none")); !errors.Is(err, errNoGPU) {
		t.Error(err)
	}
	dir := t.TempDir()
	if err := errors.Join(
		os.MkdirAll(filepath.Join(dir, "dri/0/standin"), 0o755),
		os.Symlink("/no/such", filepath.Join(dir, "dri/0/standin/gpu_time")),
	); err != nil {
		t.Fatal(err)
	}
	if _, err := openGPU(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
