package klog

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A found is a finding in a log: the rule, the head of the report, and the lines of its body.
type found struct {
	rule, head string
	body       []string
}

// findings judges a log line by line and returns its findings.
func findings(t *testing.T, rules Rules, source Source, log string) []found {
	t.Helper()
	var s Splitter
	var out []found
	at := -1
	for line := range strings.Lines(log) {
		line = strings.TrimSuffix(line, "\n")
		rule, action := rules.Judge(Message{Source: source, Level: UnknownLevel, Text: line})
		switch s.Next(line, action) {
		case Head:
			at = len(out)
			out = append(out, found{rule, line, slices.Clone(s.Before())})
		case Body:
			if at < 0 {
				t.Fatalf("%q belongs to no report", line)
			}
			out[at].body = append(out[at].body, line)
		case Single:
			if action != Ignore {
				out = append(out, found{rule, line, nil})
			}
		}
	}
	return out
}

func sampleReport(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "reports", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Each report of the kernel is one finding that has all of its lines, in the log of the host and on
// a guest's console. It ends before the next message.
func TestReports(t *testing.T) {
	rules, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, rule, head string
		before           int // lines of the sample before the finding: rulers and "cut here"
	}{
		{"lockdep-circular", "lockdep", "WARNING: possible circular locking dependency detected", 2},
		{"lockdep-recursive", "lockdep", "WARNING: possible recursive locking detected", 2},
		{"lockdep-irq", "lockdep", "WARNING: possible irq lock inversion dependency detected", 1},
		{"lockdep-order", "lockdep", "WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected", 1},
		{"lockdep-unlock", "lockdep", "WARNING: bad unlock balance detected!", 1},
		{"lockdep-arm64", "lockdep", "[ BUG: Invalid wait context ]", 1},
		{"lockdep-user", "lockdep", "WARNING: lock held when returning to user space!", 2},
		{"lockdep-warn-on", "lockdep", "DEBUG_LOCKS_WARN_ON(lock->magic != lock)", 1},
		{"lockdep-rcu", "lockdep", "WARNING: suspicious RCU usage", 2},
		{"kasan", "sanitizer", "BUG: KASAN: slab-use-after-free in xe_exec_queue_put+0x1c5/0x230 [xe]", 1},
		{"kcsan", "sanitizer", "BUG: KCSAN: data-race in xe_hw_fence_signaled / xe_lrc_write", 1},
		{"kfence", "sanitizer", "BUG: KFENCE: use-after-free read in xe_vma_destroy+0x2c/0x90 [xe]", 1},
		{
			"ubsan", "sanitizer",
			"UBSAN: array-index-out-of-bounds in drivers/gpu/drm/xe/xe_gt_sriov_pf_config.c:412:21", 1,
		},
		{
			"atomic-sleep", "atomic-sleep",
			"BUG: sleeping function called from invalid context at kernel/locking/mutex.c:585", 0,
		},
		{"hung-task", "hang", "INFO: task kworker/u8:3:91 blocked for more than 120 seconds.", 0},
		{"kmemleak", "memory-leak", "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)", 0},
		{"oops", "oops", "BUG: kernel NULL pointer dereference, address: 0000000000000008", 0},
		{
			"gpf", "oops", "Oops: general protection fault, probably for non-canonical address 0xdffffc0000000001: " +
				"0000 [#1] SMP KASAN NOPTI", 0,
		},
		{
			"bug-on", "corruption", "list_del corruption. prev->next should be ffff888101, but was ffff888102. " +
				"(prev=ffff888103)", 0,
		},
		{
			"drm-warn", "warning", "WARNING: drivers/gpu/drm/xe/xe_gt_sriov_pf_config.c:412 at " +
				"pf_push_vf_cfg+0x12e/0x240 [xe], CPU#0: bash/1", 1,
		},
		{
			"refcount-late", "warning", "WARNING: lib/refcount.c:28 at refcount_warn_saturate+0xba/0x110, CPU#1: " +
				"xe_exec/812", 1,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := sampleReport(t, c.name)
			log := "xe 0000:03:00.0: [drm] before\n" + text + "systemd[1]: after\n" + text + "systemd[1]: after\n"
			for _, source := range []Source{Host, Guest} {
				got := findings(t, rules, source, log)
				if len(got) != 2 {
					t.Fatalf("%s: %d findings of two reports: %q", source, len(got), got)
				}
				for _, f := range got {
					if f.rule != c.rule || f.head != c.head {
						t.Errorf("%s: %s: %s, want %s: %s", source, f.rule, f.head, c.rule, c.head)
					}
					if want := strings.Count(text, "\n") - c.before - 1; len(f.body) != want {
						t.Errorf("%s: %d lines after the head, want %d:\n%s",
							source, len(f.body), want, strings.Join(f.body, "\n"))
					}
					if slices.Contains(f.body, "systemd[1]: after") {
						t.Errorf("%s: the report goes on after its end", source)
					}
				}
			}
		})
	}
}

// The line before "WARNING:" that says what is wrong is a part of the report.
func TestReportBefore(t *testing.T) {
	rules, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	got := findings(t, rules, Host, sampleReport(t, "drm-warn"))
	const want = "xe 0000:03:00.0: [drm] Tile0: GT0: Assertion `xe_gt_is_main_type(gt)` failed!"
	if len(got) != 1 || got[0].body[0] != want {
		t.Errorf("%q, want %q after the head", got, want)
	}
}

// A report does not hide another one, nor a message of a driver between its lines. A report that a
// rule calls a warning does not hide a line that is a failure.
func TestReportsInReports(t *testing.T) {
	rules, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	mine, err := Parse("mine.json", []byte(`{"rules": [{"name": "mine", "match": "^refcount_t: ", "action": "warn"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	rules = append(mine, rules...)
	kasan := sampleReport(t, "kasan")
	half := kasan[:strings.Index(kasan, "\nAllocated by")+1]
	const warn = "WARNING: a.c:1 at f+0x1/0x2, CPU#0: a/1\n"
	oops := sampleReport(t, "oops")
	for name, c := range map[string]struct {
		log  string
		want []string
	}{
		"cut off by another": {half + oops, []string{"sanitizer", "oops"}},
		"a driver between": {
			half + "xe 0000:03:00.0: [drm] *ERROR* no\n" + kasan[len(half):], []string{"sanitizer", "drm-error"},
		},
		"the same cut off":       {half + kasan, []string{"sanitizer", "sanitizer"}},
		"panic after an oops":    {oops + "Kernel panic - not syncing: Fatal exception\n", []string{"oops", "oops"}},
		"two oopses":             {oops + oops, []string{"oops", "oops"}},
		"a warning in a warning": {warn + warn, []string{"warning", "warning"}},
		"lockdep in a warning":   {warn + sampleReport(t, "lockdep-unlock"), []string{"warning", "lockdep"}},
		"worse than its head": {
			cutHere + "\nrefcount_t: saturated; leaking memory.\nWARNING: CPU: 0 PID: 1 at lib/refcount.c:22\n" +
				"---[ end trace 0 ]---\nBUG: late\n",
			[]string{"mine", "warning", "oops"},
		},
		"without an end": {
			"BUG: scheduling while atomic: a/1/0x2\n" + strings.Repeat("xe: text\n", longestReport+1) + kasan,
			[]string{"atomic-sleep", "sanitizer"},
		},
	} {
		var got []string
		for _, f := range findings(t, rules, Host, c.log) {
			got = append(got, f.rule)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// Every line that the rules match is the head of a finding, a finding of its own, or in a report
// that counts as much. A Body has a Head before it, and reports end.
func FuzzSplitter(f *testing.F) {
	names, err := filepath.Glob("testdata/reports/*.txt")
	if err != nil || len(names) == 0 {
		f.Fatal(names, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	rules, err := Builtin()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, log string) {
		var s Splitter
		head, body := Ignore, 0
		for line := range strings.Lines(log) {
			_, action := rules.Judge(Message{Source: Host, Level: UnknownLevel, Text: line})
			switch s.Next(line, action) {
			case Head:
				if action == Ignore {
					t.Errorf("%q begins a finding, and no rule matches it", line)
				}
				head, body = action, 0
			case Body:
				if body++; head == Ignore || head == Warn && action == Fail {
					t.Errorf("%q (%s) is in a report that is %q", line, action, head)
				}
				if body > 3*longestReport {
					t.Errorf("a report has %d lines", body)
				}
			case Single:
			}
		}
	})
}
