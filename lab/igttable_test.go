//go:build lab

package lab_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"vmtb/bench"
	"vmtb/internal/igttable"
	"vmtb/lab"
)

// TestIGTTable is "make igt-table". It runs each subtest of IGT that concerns xe once, and writes
// the results of each place of VMTB_IGT_PLACES to a file in VMTB_IGT_DIR after each batch. Subtests
// with a result in that file do not run again. With VMTB_IGT_AGAIN those that did not pass do.
// VMTB_IGT_TESTS is an expression for the names of programs, and VMTB_IGT_TIMEOUT the seconds of
// the DUT for one subtest.
func TestIGTTable(t *testing.T) {
	places := strings.Fields(os.Getenv("VMTB_IGT_PLACES"))
	if len(places) == 0 {
		t.Skip("make igt-table")
	}
	seconds, err := strconv.Atoi(os.Getenv("VMTB_IGT_TIMEOUT"))
	if err != nil {
		t.Fatal(err)
	}
	filter, err := regexp.Compile(os.Getenv("VMTB_IGT_TESTS"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt)
	defer stop()
	for _, name := range places {
		w := &igtTable{
			dir: os.Getenv("VMTB_IGT_DIR"), filter: filter, timeout: time.Duration(seconds) * time.Second,
			again: os.Getenv("VMTB_IGT_AGAIN") != "", ran: map[string]bool{},
		}
		t.Run(name, func(t *testing.T) { w.run(ctx, t, name) })
	}
}

// An igtTable runs the subtests of one place.
type igtTable struct {
	place   *igttable.Place
	dir     string
	filter  *regexp.Regexp
	timeout time.Duration
	again   bool
	ran     map[string]bool // subtests that have run in this call

	dut    *dut
	prefix []string // of a command that runs in the guest
}

// run starts DUTs, one after the other, until all subtests have a result. A DUT ends early if a
// test has broken it.
func (w *igtTable) run(ctx context.Context, t *testing.T, name string) {
	gpu, vf, ok := strings.Cut(name, "-")
	if !ok || vf != "pf" && vf != "vf" {
		t.Fatalf("PLACES: %s: want GPU-pf or GPU-vf", name)
	}
	text, err := os.ReadFile(filepath.Join(w.dir, name+".txt"))
	if errors.Is(err, fs.ErrNotExist) {
		w.place = &igttable.Place{Name: name, Head: map[string]string{}, Results: map[string]igttable.Outcome{}}
	} else if w.place, err = igttable.Parse(name, string(text)); err != nil {
		t.Fatal(err)
	}
	for n, before := 1, -1; ctx.Err() == nil && len(w.ran) > before; n++ {
		before = len(w.ran)
		if len(w.place.Results) > 0 && len(w.next()) == 0 {
			return
		}
		t.Run("DUT "+strconv.Itoa(n), func(t *testing.T) {
			w.dut, w.prefix = startWith(t, lab.BuildOptions{GPU: lab.GPU(gpu), Migration: true}, lab.Options{}), nil
			if len(w.place.Results) == 0 {
				w.list(ctx, t)
			}
			if vf == "vf" {
				w.startGuest(t)
			}
			for batch := w.next(); len(batch) > 0 && ctx.Err() == nil && w.runBatch(ctx, t, batch); batch = w.next() {
			}
		})
	}
}

// igtLater has programs that may break the driver or use all memory of the DUT: they run last.
var igtLater = regexp.MustCompile(
	`^xe_(configfs|fault_injection|live_ktest|module_load|pm|survivability|userptr_pressure|wedged)$`,
)

// next returns the subtests for the next call of igt_runner: at most 60 of one program. The programs
// with the fewest subtests come first.
func (w *igtTable) next() []string {
	programs := map[string][]string{}
	for test, o := range w.place.Results {
		program, _, _ := strings.Cut(test, "@")
		due := o.Result == igttable.NotRun
		if w.again {
			due = !due && o.Result != igttable.Pass && o.Result != igttable.Skip
		}
		if due && !w.ran[test] && w.filter.MatchString(program) {
			programs[program] = append(programs[program], test)
		}
	}
	later := func(program string) int { return strings.Count(igtLater.FindString(program), "xe") }
	order := slices.SortedFunc(maps.Keys(programs), func(a, b string) int {
		return cmp.Or(later(a)-later(b), len(programs[a])-len(programs[b]), strings.Compare(a, b))
	})
	if len(order) == 0 {
		return nil
	}
	tests := programs[order[0]]
	slices.Sort(tests)
	return tests[:min(len(tests), 60)]
}

const igtTests = "/usr/libexec/igt-gpu-tools"

// list makes the place's list of subtests, and its head.
func (w *igtTable) list(ctx context.Context, t *testing.T) {
	t.Helper()
	w.place.Head["kernel"] = strings.TrimSpace(w.dut.must(ctx, t, "uname -r"))
	w.place.Head["igt"] = strings.TrimSpace(w.dut.must(ctx, t, "dpkg-query -W -f '${Version}' igt-gpu-tools-tests"))
	const subtests = `cd ` + igtTests + `; for p in xe_* sriov_*; do ./$p --list-subtests | sed "s/^/$p@/"; done`
	for _, name := range strings.Fields(w.dut.must(ctx, t, subtests)) {
		w.place.Results[name] = igttable.Outcome{Result: igttable.NotRun}
	}
}

// startGuest starts a guest with a VF, and gives it IGT's programs and libraries that its image
// does not have.
func (w *igtTable) startGuest(t *testing.T) {
	t.Helper()
	d := w.dut
	d.says(t, 0, "", "vf", "enable", "1")
	d.says(
		t, 0, "", "vm", "start", "--vm-image", lab.GuestImage, "--vm-memory", strconv.Itoa(d.memory), "--timeout-scale",
		"5", "--warm", "--vf=1", "gpu",
	)
	const pack = `cd / && set -- usr/libexec/igt-gpu-tools/xe_* usr/libexec/igt-gpu-tools/sriov_* && ` +
		`tar -czhf "$0" "$@" $(ldd "$@" | grep -o '/[^ ]*libxe_oa[^ ]*' | sort -u)`
	file := filepath.Join(d.dir, "igt.tar.gz")
	d.must(t.Context(), t, bench.Command{Argv: []string{"sh", "-ec", pack, file}}.String())
	d.says(t, 0, "", "vm", "cp", file, "gpu:/root/igt.tar.gz")
	d.says(t, 0, "", "vm", "exec", "gpu", "--", "sh", "-ec", "cd /; tar -xzf /root/igt.tar.gz; rm /root/igt.tar.gz")
	w.prefix = []string{d.giveProgram(t), "vm", "exec", "-i", "gpu", "--"}
}

// exec runs a shell line in the DUT or the guest. Its output goes to out.
func (w *igtTable) exec(ctx context.Context, line, in string, out *igtLog) error {
	c := bench.Command{
		Argv: append(slices.Clone(w.prefix), "sh", "-c", line), Stdin: []byte(in), Stdout: out, Stderr: out,
	}
	r, err := w.dut.Exec(ctx, c)
	if err == nil {
		err = r.Err(c)
	}
	return err
}

// runBatch runs subtests of one program, and records their results. It reports whether the machine
// can go on.
func (w *igtTable) runBatch(ctx context.Context, t *testing.T, batch []string) bool {
	limit := 6*w.timeout + time.Minute // by this machine's clock
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	log := &igtLog{limit: limit, silent: time.AfterFunc(limit, cancel)}
	defer log.silent.Stop()
	argv := slices.Insert(igtRunner(w.timeout, "/root/list", "/root/igt"), 1, "-l", "verbose")
	if !w.again {
		argv = slices.Insert(argv, 1, "-m")
	}
	line := "rm -rf /root/igt; cat >/root/list; exec " + bench.Command{Argv: argv}.String()
	err := w.exec(running, line, "igt@"+strings.Join(batch, "\nigt@")+"\n", log)
	if ctx.Err() != nil {
		return false
	}
	var results struct {
		Tests map[string]igtResult `json:"tests"`
	}
	file := &igtLog{limit: limit, silent: log.silent}
	if err == nil || running.Err() == nil {
		err = w.exec(running, "cat /root/igt/results.json", "", file)
	}
	if err == nil {
		err = json.Unmarshal(file.text.Bytes(), &results)
	}
	name := filepath.Join(w.dir, w.place.Name, batch[0])
	if err := errors.Join(
		os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name+".log", log.text.Bytes(), 0o644),
		os.WriteFile(name+".json", file.text.Bytes(), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	bad := w.recordAll(t, batch, results.Tests, log.text.String())
	if err != nil || !slices.ContainsFunc(batch, func(test string) bool { return w.ran[test] }) {
		// The subtest that ran last has broken the machine.
		test := batch[0]
		if m := startedSubtest.FindAllStringSubmatch(log.text.String(), -1); len(m) > 0 {
			test = test[:strings.Index(test, "@")+1] + m[len(m)-1][1]
		}
		w.record(t, test, igttable.Outcome{Result: "incomplete", Note: "the machine died or hung"})
		t.Logf("%v", err)
		bad++
	}
	w.write(t)
	const healthy = `! grep -qv '^0$' /sys/bus/pci/drivers/xe/*/sriov_numvfs && exec ` + igtTests +
		`/xe_exec_store --run-subtest basic-store`
	return bad == 0 || err == nil && w.exec(running, healthy, "", log) == nil
}

// recordAll records the results of a batch, and returns how many are neither a pass nor a skip. log
// has the order in which the subtests ended. If a fixture skips, IGT prints the reason only for the
// first subtest after it.
func (w *igtTable) recordAll(t *testing.T, batch []string, results map[string]igtResult, log string) (bad int) {
	program, _, _ := strings.Cut(batch[0], "@")
	fixture, notes := "", map[string]string{}
	for _, m := range skippedSubtest.FindAllStringSubmatch(log, -1) {
		test := program + "@" + m[1]
		out := results[resultKey(test)].Out
		if notes[test] = skipNote(out); notes[test] == "" {
			notes[test] = fixture
		} else if !startedSubtest.MatchString(out) {
			fixture = notes[test]
		}
	}
	for _, test := range batch {
		r, ok := results[resultKey(test)]
		if !ok || r.Result == igttable.NotRun {
			continue
		}
		if !w.again {
			// igt_runner cuts a program's stderr into subtests, but not always at the ends of lines.
			_, r.Err, _ = strings.Cut(r.Err, "\n")
			r.Err = r.Err[:strings.LastIndex(r.Err, "\n")+1]
		}
		o := r.outcome()
		if o.Result == igttable.Skip {
			o.Note = notes[test]
		}
		w.record(t, test, o)
		if o.Result != igttable.Pass && o.Result != igttable.Skip {
			bad++
		}
	}
	return bad
}

// resultKey returns igt_runner's name of a subtest in results.json.
func resultKey(test string) string { return "igt@" + strings.ToLower(test) }

// record records and prints the result of a subtest.
func (w *igtTable) record(t *testing.T, test string, o igttable.Outcome) {
	w.place.Results[test], w.ran[test] = o, true
	n := 0
	for _, o := range w.place.Results {
		if o.Result != igttable.NotRun {
			n++
		}
	}
	t.Logf("%s: %d of %d: %s %s %s", w.place.Name, n, len(w.place.Results), test, o.Result, igttable.Line(o.Note))
}

func (w *igtTable) write(t *testing.T) {
	w.place.Head["date"] = time.Now().Format(time.DateOnly)
	if err := os.WriteFile(filepath.Join(w.dir, w.place.Name+".txt"), []byte(w.place.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// An igtLog has the output of a command. A command that prints nothing for limit is ended by the
// timer silent.
type igtLog struct {
	mu     sync.Mutex
	text   bytes.Buffer
	limit  time.Duration
	silent *time.Timer
}

func (l *igtLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent.Reset(l.limit)
	return l.text.Write(p)
}

var (
	startedSubtest = regexp.MustCompile(`Starting subtest: (\S+)`)
	skippedSubtest = regexp.MustCompile(`Subtest (\S+): SKIP`)
	requirement    = regexp.MustCompile(`(?m)^Test requirement: (.*)\n(.*)`)
	beforeSkip     = regexp.MustCompile(`(?m)^(.+?)\n?(?:Subtest \S+: )?SKIP \(`)
	noReason       = regexp.MustCompile(`^(Using IGT_SRANDOM|Starting |Subtest |Dynamic )`)
	assertion      = regexp.MustCompile(`Test assertion failure function (\w+), file \S+:\d+:|Failed assertion: (.*)`)
	dmesgPrefix    = regexp.MustCompile(`^<\d+>\s*\[[^]]*\]\s*`)
)

// skipNote returns the reason for a skip in the output of a subtest: IGT's condition, with IGT's
// words if there are any.
func skipNote(out string) string {
	if m := requirement.FindStringSubmatch(out); m != nil {
		if strings.HasPrefix(m[2], "Subtest ") || strings.HasPrefix(m[2], "Last errno") || m[2] == "" {
			return m[1]
		}
		return m[2] + " (" + m[1] + ")"
	}
	if m := beforeSkip.FindStringSubmatch(out); m != nil && !noReason.MatchString(m[1]) {
		return m[1]
	}
	return ""
}

// outcome returns the result for the table, without the reason of a skip.
func (r igtResult) outcome() igttable.Outcome {
	if r.passed() {
		return igttable.Outcome{Result: igttable.Pass}
	}
	o := igttable.Outcome{Result: r.Result}
	if strings.HasPrefix(r.Result, "dmesg-w") {
		for line := range strings.Lines(r.DmesgWarnings) {
			if !harmlessDmesg.MatchString(line) && o.Note == "" {
				o.Note = dmesgPrefix.ReplaceAllString(line, "")
			}
		}
	}
	for _, m := range assertion.FindAllStringSubmatch(r.Err, 2) {
		o.Note += " " + m[1] + m[2]
	}
	return o
}
