package kernelwatch

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vmtb/bench/host"
	"vmtb/flow"
	"vmtb/internal/fake/fakefiles"
	"vmtb/internal/fake/fakehost"
)

// newWatch returns a Watch of a fake host whose taint and lockdep files are in texts. The test
// calls its message method.
func newWatch(t *testing.T, texts map[string]string) *Watch {
	t.Helper()
	rules, err := ParseRules(
		"mine.json",
		[]byte(
			`{"rules": [{"name": "mine", "match": "^known BUG", "action": "ignore"},
				{"name": "usb", "subsystem": "usb", "action": "warn"}]}`,
		),
	)
	if err != nil {
		t.Fatal(err)
	}
	w := &Watch{
		host: host.New(fakefiles.Host{Host: fakehost.New(fakehost.BMG()), Texts: texts}), rules: rules,
		dmesg: &logFile{},
	}
	w.checkHost(t.Context())
	return w
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func found(fs []flow.Finding) string {
	var out []string
	for _, f := range fs {
		out = append(out, fmt.Sprintf("%s %s %v", f.Source, f.Rule, f.Fail))
	}
	return strings.Join(out, "; ")
}

// Each message is in the directory of its phase, and its finding belongs to that phase.
func TestKernelWatch(t *testing.T) {
	texts := map[string]string{"/kernel/tainted": "4096\n", "/lockdep_stats": " debug_locks: 1\n"}
	w := newWatch(t, texts)
	run, set, one := t.TempDir(), t.TempDir(), t.TempDir()
	w.message(host.KernelMessage{Level: 6, Text: "early"})
	w.Enter(run)
	w.Enter(set)
	w.message(host.KernelMessage{Level: 4, Text: "WARNING: CPU: 0 PID: 1 at x", Lost: 3})
	w.message(host.KernelMessage{Level: 4, Text: "WARNING: CPU: 0 PID: 1 at x", Facility: 1}) // from a program
	w.message(host.KernelMessage{Level: 4, Text: "known BUG: x"})
	if got := found(w.Leave()); got != "host warning true" {
		t.Errorf("in the set-up: %s", got)
	}
	w.Enter(one)
	w.message(host.KernelMessage{Level: 6, Text: "odd", Dict: []string{"SUBSYSTEM=usb", "DEVICE=+usb:1"}})
	texts["/kernel/tainted"], texts["/lockdep_stats"] = fmt.Sprint(4096|1<<9|1<<13), " debug_locks: 0\n"
	if got := found(w.Leave()); got != "host usb false; host taint true; host lockdep true" {
		t.Errorf("in the case: %s", got)
	}
	w.Enter(set)
	w.message(host.KernelMessage{Level: 6, Text: "bye"})
	if got := found(w.Leave()); got != "" {
		t.Errorf("afterwards: %s", got)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	for dir, want := range map[string]string{
		run: "<6>[    0.000000] early\n",
		set: "[3 messages lost: the kernel wrote faster than vmtb read]\n<4>[    0.000000] WARNING: CPU: 0 PID: 1 at " +
			"x\n" +
			"<4>[    0.000000] WARNING: CPU: 0 PID: 1 at x\n<4>[    0.000000] known BUG: x\n<6>[    0.000000] bye\n",
		one: "<6>[    0.000000] odd\n",
	} {
		if got := read(t, filepath.Join(dir, dmesgFile)); got != want {
			t.Errorf("got %q\nwant %q", got, want)
		}
	}
}

// A flood of kernel messages fills neither the disk nor the journal.
func TestKernelWatchBounds(t *testing.T) {
	w := newWatch(t, nil)
	dir := t.TempDir()
	w.Enter(dir)
	text := "BUG: " + strings.Repeat("x", 1<<20)
	for range 100 {
		w.message(host.KernelMessage{Text: text})
	}
	if n := len(w.Leave()); n != maxFindings {
		t.Errorf("%d findings", n)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	got := read(t, filepath.Join(dir, dmesgFile))
	if len(got) > maxLog+100 || !strings.HasSuffix(got, "[cut: this file has reached its limit of 16 MiB]\n") {
		t.Errorf("%d bytes, ends %q", len(got), got[len(got)-60:])
	}
}

// A failure counts after any number of warnings.
func TestKernelWatchFailureAfterWarnings(t *testing.T) {
	w := newWatch(t, nil)
	w.Enter(t.TempDir())
	for range 2 * maxFindings {
		w.message(host.KernelMessage{Level: 3, Text: "xe 0000:03:00.0: no"})
	}
	w.message(host.KernelMessage{Level: 1, Text: "BUG: late"})
	if fs := w.Leave(); len(fs) != maxFindings+1 || !fs[maxFindings].Fail {
		t.Errorf("%d findings, the last is %v", len(fs), fs[len(fs)-1])
	}
}

// A report is one finding with all of its lines. It belongs to its source and to the phase in which
// it began.
func TestKernelWatchReports(t *testing.T) {
	report := read(t, filepath.Join("..", "..", "bench", "klog", "testdata", "reports", "lockdep-circular.txt"))
	first := strings.Index(report, "WARNING:")
	var console strings.Builder
	for line := range strings.Lines(report) {
		console.WriteString("[    9.000001] " + strings.TrimSuffix(line, "\n") + "\r\n")
	}
	path := filepath.Join(t.TempDir(), "console.log")
	if err := os.WriteFile(path, []byte(console.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWatch(t, nil)
	w.Enter(t.TempDir())
	defer w.Follow("vm0", path)()
	for line := range strings.Lines(report) {
		w.message(host.KernelMessage{Level: 4, Text: strings.TrimSuffix(line, "\n")})
	}
	fs := w.Leave()
	if got := found(fs); got != "host lockdep true; vm0 lockdep true" {
		t.Fatal(got)
	}
	for _, f := range fs {
		if got, want := strings.Fields(f.Text), strings.Fields(report[first:]); !slices.Equal(got, want) {
			t.Errorf("%s: got %q\nwant %q", f.Source, got, want)
		}
		const want = "WARNING: possible circular locking dependency detected (lockdep)"
		if f.String() != f.Source+": "+want {
			t.Errorf("%q", f.String())
		}
	}

	// A report that goes on in the next phase is still one finding.
	half := strings.Index(report, "stack backtrace:")
	w.Enter(t.TempDir())
	w.message(host.KernelMessage{Level: 4, Text: report[:half]})
	if got := found(w.Leave()); got != "host lockdep true" {
		t.Error(got)
	}
	w.Enter(t.TempDir())
	w.message(host.KernelMessage{Level: 4, Text: report[half:]})
	w.message(host.KernelMessage{Level: 4, Text: "BUG: another"})
	if got := found(w.Leave()); got != "host oops true" {
		t.Error(got)
	}
}

// The text of a finding has a limit.
func TestKernelWatchLongReport(t *testing.T) {
	w := newWatch(t, nil)
	w.Enter(t.TempDir())
	w.message(host.KernelMessage{Level: 4, Text: "BUG: long\n" + strings.Repeat(strings.Repeat("x", 200)+"\n", 300)})
	fs := w.Leave()
	if len(fs) != 1 || len(fs[0].Text) > maxReport+100 || !strings.HasSuffix(fs[0].Text, "log has the rest]") {
		t.Errorf("%d findings, the first has %d bytes", len(fs), len(fs[0].Text))
	}
}

// A record with several lines is judged line by line, like a console.
func TestKernelWatchLines(t *testing.T) {
	w := newWatch(t, nil)
	w.Enter(t.TempDir())
	w.message(host.KernelMessage{Level: 3, Text: "\nBUG: kernel NULL pointer dereference\n#PF: x\n"})
	if fs := w.Leave(); found(fs) != "host oops true" || fs[0].Text != "BUG: kernel NULL pointer dereference\n#PF: x" {
		t.Errorf("%v", fs)
	}
}

// If the log cannot be written, this is reported once, and the run goes on.
func TestKernelWatchUnwritable(t *testing.T) {
	w := newWatch(t, nil)
	w.Enter("/nowhere/at/all")
	w.message(host.KernelMessage{Level: 6, Text: "x"})
	w.message(host.KernelMessage{Level: 6, Text: "y"})
	w.Enter(t.TempDir())
	if got := found(w.Leave()); got != "host kernel-log false" {
		t.Error(got)
	}
}

// Each line of a guest's console belongs to the phase in which the line ended, and kernel lines are
// judged.
func TestConsole(t *testing.T) {
	w := newWatch(t, nil)
	path := filepath.Join(t.TempDir(), "console.log")
	add := func(text string) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	one, two := t.TempDir(), t.TempDir()
	w.Enter(one)
	stop := w.Follow("vm0", path)
	if got := found(w.Leave()); got != "" {
		t.Errorf("without a console: %s", got)
	}
	add("boot\r\n[    1.000000] hello\r\n[    2.000000] BUG: half")
	if got := found(w.Leave()); got != "" {
		t.Errorf("half a line: %s", got)
	}
	w.Enter(two)
	add(" a line\r\nBUG: says a program\r\n[    3.000000] known BUG\r\n")
	if fs := w.Leave(); found(fs) != "vm0 oops true" || fs[0].Text != "BUG: half a line\nknown BUG" {
		t.Errorf("the whole line: %v", fs)
	}
	add(
		"root@guest:~# [    4.000000] BUG: behind a prompt\r\n~ # <4>[    4.100000] WARNING: CPU: 0 PID: 1 at x\r\n[ " +
			"   4.200000] BUG: at its end",
	)
	stop()
	add("\r\n[    5.000000] BUG: nobody listens\r\n")
	if got := found(w.Leave()); got != "vm0 oops true; vm0 warning true; vm0 oops true" {
		t.Errorf("after its end: %s", got)
	}
	if got := read(t, filepath.Join(one, "console-vm0.txt")); got != "boot\r\n[    1.000000] hello\r\n" {
		t.Errorf("%q", got)
	}
	if got := read(
		t, filepath.Join(two, "console-vm0.txt"),
	); !strings.HasPrefix(got, "[    2.000000] BUG: half a line\r\n") || strings.Contains(got, "nobody") {
		t.Errorf("%q", got)
	}
}

// All output of a guest in one phase is judged. Only the stored part has a limit.
func TestConsoleFlood(t *testing.T) {
	const bug = "[    9.000000] BUG: at the end\r\n"
	for name, flood := range map[string]string{
		"lines":    strings.Repeat(strings.Repeat("x", 1023)+"\n", 20<<10),
		"one line": strings.Repeat("#", 20<<20),
		"stamps":   strings.Repeat("[    1.000000] harmless, and about as long as a line is", 400<<10),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatch(t, nil)
			dir := t.TempDir()
			path := filepath.Join(dir, "console.log")
			if err := os.WriteFile(path, []byte(flood+bug), 0o600); err != nil {
				t.Fatal(err)
			}
			w.Enter(dir)
			defer w.Follow("vm0", path)()
			if fs := w.Leave(); found(fs) != "vm0 oops true" || fs[0].Text != "BUG: at the end" {
				t.Errorf("%v", found(fs))
			}
			if got := len(read(t, filepath.Join(dir, "console-vm0.txt"))); got > maxLog+100 {
				t.Errorf("%d bytes stored", got)
			}
		})
	}
}
