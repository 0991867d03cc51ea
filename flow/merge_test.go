package flow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"vmtb/bench"
)

var mergeStart = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// A tape is the journal of a run on a DUT, as text. A line is "13 begin case a.one" or "14 end case
// a.one pass"; the number is the second.
type tape struct {
	dut    string
	plan   string // "a.one a.two"
	events string // one on each line
}

func tapeID(s string) ID {
	if s == "-" {
		return ID{}
	}
	param, name, _ := strings.Cut(s, ".")
	return ID{File: "file", Class: "Class", Case: name, Param: param}
}

func (tp tape) entries() (all []Entry) {
	for line := range strings.Lines(strings.TrimSpace(tp.events)) {
		f := append(strings.Fields(line), "", "", "")
		var second int
		_, _ = fmt.Sscan(f[0], &second)
		e := Entry{
			Seq: len(all) + 1, Time: mergeStart.Add(time.Duration(second) * time.Second), Event: Event(f[1]),
			Phase: Phase(f[2]),
		}
		switch e.Phase {
		case PhaseRun:
			e.Result, e.Reason = Result(f[3]), strings.Join(strings.Fields(f[4]), " ")
			if e.Result != "" {
				e.Reason = "for a reason"
			}
			if code := 0; e.Event == End {
				e.ExitCode = &code
			}
		default:
			e.ID = tapeID(f[3])
			if e.Result = Result(f[4]); e.Event == End && e.Phase == PhaseCase {
				e.Duration = time.Second
			}
			e.Dir = "07-file-Class-" + e.ID.Param + "/" + e.ID.Case
		}
		all = append(all, e)
	}
	return all
}

// write writes a run directory with the entries of the tape.
func (tp tape) write(t testing.TB, dir string) string {
	t.Helper()
	var plan []Item
	for _, s := range strings.Fields(tp.plan) {
		id := tapeID(s)
		plan = append(plan, Item{ID: id, Name: id.String(), Dir: "07-file-Class-" + id.Param + "/" + id.Case})
	}
	return writeRun(t, dir, tp.dut, plan, tp.entries())
}

// writeRun writes a run directory.
func writeRun(t testing.TB, dir, dut string, plan []Item, entries []Entry) string {
	t.Helper()
	info := Info{
		Format: Format, Version: "1", DUT: dut + ", Linux 7.3", Start: entries[0].Time, TimeoutScale: 1,
		BootID: "boot of " + dut, Plan: plan,
	}
	data, err := json.Marshal(info)
	if err != nil {
		t.Fatal(err)
	}
	var journal []byte
	for _, e := range entries {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		journal = append(append(journal, line...), '\n')
	}
	files := map[string][]byte{
		infoFile: data, journalFile: journal, lockFile: nil, "undo.jsonl": nil, "results.json": nil,
	}
	for _, it := range plan {
		files[it.Dir+"/log.txt"] = []byte(dut)
	}
	for name, data := range files {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// mergeTapes merges runs into a new directory.
func mergeTapes(t testing.TB, o MergeOptions, tapes ...tape) *RunDir {
	t.Helper()
	base := t.TempDir()
	for i, tp := range tapes {
		dir := tp.write(t, filepath.Join(base, fmt.Sprint("part", i)))
		if i < len(o.Parts) {
			o.Parts[i].Dir = dir
			continue
		}
		o.Parts = append(o.Parts, Part{Dir: dir})
	}
	o.Out = filepath.Join(base, "out")
	run, err := Merge(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// story returns a short form of the journal, without the entries of the run itself.
func story(run *RunDir) string {
	var b strings.Builder
	for _, e := range run.Entries {
		if e.Phase == PhaseRun {
			continue
		}
		fmt.Fprintf(&b, "%s %s %s.%s", e.Event, e.Phase, e.ID.Param, e.ID.Case)
		for _, s := range []string{string(e.Result), e.DUT} {
			if s != "" {
				b.WriteString(" " + s)
			}
		}
		if e.Attempt > 0 {
			fmt.Fprintf(&b, " attempt %d", e.Attempt)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func summaryOf(run *RunDir) (s Summary) {
	for _, e := range run.Entries {
		s.Add(e)
	}
	return s
}

var lostDUT = tape{"bmg-07", "a.one a.two b.one", `
	0 begin run
	1 begin case a.one
	2 end case a.one pass
	3 begin case a.two`}

// A DUT was lost. Its finished cases count, its running case is incomplete, and its other cases are
// notrun. Later attempts on another DUT count instead.
func TestMergeLostDUT(t *testing.T) {
	run := mergeTapes(t, MergeOptions{Expected: []string{"bmg-07", "ptl-1"}}, lostDUT, tape{"bmg-03", "a.two", `
		10 begin run
		11 begin case a.two
		12 end case a.two pass
		13 end run`})
	const want = `begin case a.one bmg-07
end case a.one pass bmg-07
begin case a.two bmg-07
end case a.two incomplete bmg-07
begin case a.two bmg-03 attempt 2
end case a.two pass bmg-03 attempt 2
end case b.one notrun
`
	if diff := cmp.Diff(want, story(run)); diff != "" {
		t.Error(diff)
	}
	if code := summaryOf(run).ExitCode(); code != ExitError || *run.Entries[len(run.Entries)-1].ExitCode != ExitError {
		t.Errorf("exit code %d", code)
	}
	const participants = "Participating DUTs 1 of 3; missing: bmg-07 (its journal ends in file::Class::two[a]), " +
		"ptl-1 (no run directory)"
	if got := run.Info.Participants(); got != participants {
		t.Error(got)
	}
	d, ok := run.Info.Named("bmg-07")
	if !ok || len(d.Runs) != 1 || d.Runs[0].Planned != 3 || d.Runs[0].Done != 1 || d.Runs[0].ExitCode != nil {
		t.Errorf("%+v", d)
	}
	for _, name := range []string{
		"01-file-Class-a/one/log.txt", "02-file-Class-a/two/log.txt", "runs/01-bmg-07/undo.jsonl",
		"runs/02-bmg-03/run.json",
	} {
		if _, err := os.Stat(filepath.Join(run.Info.Dir, name)); err != nil {
			t.Error(err)
		}
	}
	if it := run.Info.Plan[1]; it.Dir != "02-file-Class-a/two" { // the folder of the attempt that counts
		t.Errorf("%s is in %s", it.ID, it.Dir)
	}
	if failed := run.Failed(run.Info.Plan); len(failed) != 1 || failed[0].ID.Param != "b" {
		t.Errorf("failed: %v", failed)
	}
}

// A planned case belongs to the run even if no part has it.
func TestMergePlanned(t *testing.T) {
	run := mergeTapes(t, MergeOptions{Planned: []ID{tapeID("a.one"), tapeID("z.one")}}, lostDUT)
	if last := run.Info.Plan[len(run.Info.Plan)-1].ID; len(run.Info.Plan) != 4 || last != tapeID("z.one") {
		t.Errorf("%v", run.Info.Plan)
	}
	if n := summaryOf(run).Counts[NotRun]; n != 2 {
		t.Errorf("%d have not run", n)
	}
}

// The 195 ids of the Python tool, from eight DUTs: the journal of one is torn in the middle of a
// line, a folder of one is missing, and one has no run directory. The merged run has each id once.
func TestMergeUpstream(t *testing.T) {
	items := upstreamItems(t)
	base := t.TempDir()
	o := MergeOptions{Out: filepath.Join(base, "out")}
	const torn, incomplete, missing = 3, 5, 8
	want := map[Result]int{}
	for n := 1; n <= 8; n++ {
		mine := Shard{n, 8}.Take(items)
		if len(mine) < 3 {
			t.Fatalf("shard %d has %d items", n, len(mine))
		}
		dut := fmt.Sprint("dut", n)
		o.Expected = append(o.Expected, dut)
		entries := []Entry{{Event: Begin, Phase: PhaseRun}}
		for i := range mine {
			o.Planned = append(o.Planned, mine[i].ID)
			mine[i].Name, mine[i].Dir = mine[i].ID.String(), fmt.Sprintf("%02d-unit/case", i)
			e := Entry{Phase: PhaseCase, ID: mine[i].ID, Dir: mine[i].Dir}
			begin, end := e, e
			begin.Event, end.Event, end.Result, end.Duration = Begin, End, Pass, time.Second
			entries = append(entries, begin, end)
		}
		code := 0
		entries = append(entries, Entry{Event: End, Phase: PhaseRun, ExitCode: &code})
		for i := range entries {
			entries[i].Seq, entries[i].Time = i+1, mergeStart.Add(time.Duration(i*8+n)*time.Second)
		}
		if n == missing {
			want[NotRun] += len(mine)
			continue
		}
		want[Pass] += len(mine)
		dir := filepath.Join(base, dut)
		if n == torn { // the last case has begun
			entries = entries[:len(entries)-1]
			want[Pass]--
			want[Incomplete]++
		}
		o.Parts = append(o.Parts, Part{Dir: writeRun(t, dir, dut, mine, entries), DUT: dut})
		journal := filepath.Join(dir, journalFile)
		info, err := os.Stat(journal)
		if err == nil && n == torn {
			err = os.Truncate(journal, info.Size()-20)
		}
		if err == nil && n == incomplete {
			err = os.RemoveAll(filepath.Join(dir, filepath.Dir(mine[1].Dir)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	run, err := Merge(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if got := summaryOf(run).Counts; !cmp.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	ends := map[ID]int{}
	for _, e := range run.Entries {
		if e.Phase == PhaseCase && e.Event == End {
			ends[e.ID]++
		}
	}
	for _, it := range items {
		if ends[it.ID] != 1 {
			t.Errorf("%s has %d results", it.ID, ends[it.ID])
		}
	}
	if p := run.Info.Participants(); len(run.Info.Plan) != 195 ||
		!strings.HasPrefix(p, "Participating DUTs 6 of 8; ") ||
		!strings.Contains(p, "dut3 (its journal ends in ") || !strings.Contains(p, "dut8 (no run directory)") {
		t.Errorf("%d ids; %s", len(run.Info.Plan), p)
	}
}

// An extra attempt does not count, even if its clock says that it came last.
func TestMergeExtra(t *testing.T) {
	late := tape{"old", "a.one", "90 begin run\n91 begin case a.one\n92 end case a.one fail\n93 end run"}
	good := tape{"new", "a.one", "10 begin run\n11 begin case a.one\n12 end case a.one pass\n13 end run"}
	run := mergeTapes(t, MergeOptions{Parts: []Part{{Extra: true}, {}}}, late, good)
	const want = "begin case a.one old\nend case a.one fail old\nbegin case a.one new attempt 2\nend case a.one pass " +
		"new attempt 2\n"
	if diff := cmp.Diff(want, story(run)); diff != "" {
		t.Error(diff)
	}
	if run := mergeTapes(t, MergeOptions{}, late, good); summaryOf(run).ExitCode() != ExitFail {
		t.Error("without the mark the last one does not count")
	}
}

// If two DUTs are at the same fixture at the same time, their entries follow one after the other.
// Entries of different fixtures are sorted by time.
func TestMergeWeaves(t *testing.T) {
	run := mergeTapes(t, MergeOptions{}, tape{"x", "a.one b.one", `
		0 begin run
		1 begin set-up a.
		3 end set-up a.
		5 begin case a.one
		7 end case a.one pass
		9 begin case b.one
		11 end case b.one pass
		12 end run`}, tape{"y", "c.one a.one", `
		0 begin run
		2 begin case c.one
		4 end case c.one pass
		6 begin case a.one
		8 end case a.one skip
		10 end run`})
	const want = `begin set-up a. x
begin case c.one y
end set-up a. x
end case c.one pass y
begin case a.one x
end case a.one pass x
begin case a.one y attempt 2
end case a.one skip y attempt 2
begin case b.one x
end case b.one pass x
`
	if diff := cmp.Diff(want, story(run)); diff != "" {
		t.Error(diff)
	}
	if s := summaryOf(run); s.Duration != 12*time.Second || s.ExitCode() != ExitPass {
		t.Errorf("%v, exit code %d", s.Duration, s.ExitCode())
	}
	if !slices.Contains(run.Info.Notes, "1 flow ran on more than one DUT: the last attempt counts") {
		t.Errorf("notes %q", run.Info.Notes)
	}
}

// The early end of a part decides the result only if the part left cases that nobody else ran.
func TestMergeVerdict(t *testing.T) {
	stopped := func(how string) tape {
		return tape{
			"x", "a.one b.one",
			"0 begin run\n1 begin case a.one\n2 end case a.one fail\n3 end case b.one notrun\n4 end run " + how,
		}
	}
	rest := tape{"y", "b.one", "5 begin run\n6 begin case b.one\n7 end case b.one pass\n8 end run"}
	other := tape{"y", "c.one", strings.ReplaceAll(rest.events, "b.one", "c.one")}
	unrestored := tape{
		"x", "a.one", "0 begin run\n1 begin case a.one\n2 end case a.one pass\n3 end restore a. error\n4 end run error",
	}
	for name, c := range map[string]struct {
		first, second tape
		want          int
	}{
		"interrupted":           {stopped("incomplete"), other, ExitInterrupted},
		"interrupted, made up":  {stopped("incomplete"), rest, ExitFail},
		"ended itself":          {stopped("error"), other, ExitAborted},
		"ended itself, made up": {stopped("error"), rest, ExitFail},
		"maxfail":               {stopped("fail"), other, ExitFail},
		"not restored":          {unrestored, tape{"y", "b.one", rest.events + "\n9 end restore b."}, ExitNotRestored},
	} {
		t.Run(name, func(t *testing.T) {
			run := mergeTapes(t, MergeOptions{}, c.first, c.second)
			if got := *run.Entries[len(run.Entries)-1].ExitCode; got != c.want {
				t.Errorf("exit code %d, want %d\n%s", got, c.want, story(run))
			}
		})
	}
}

// A merged run can be merged again. An older copy of a run adds nothing.
func TestMergeAgain(t *testing.T) {
	other := tape{"y", "b.one", "5 begin run\n6 begin case b.one\n7 end case b.one pass\n8 end run"}
	third := tape{"z", "c.one", "5 begin run\n6 begin case c.one\n7 end case c.one pass\n8 end run"}
	once := mergeTapes(t, MergeOptions{}, lostDUT, other)
	older := lostDUT
	older.events = older.events[:strings.LastIndex(older.events, "\n")]
	dir := t.TempDir()
	again, err := Merge(t.Context(), MergeOptions{Out: filepath.Join(dir, "out"), Parts: []Part{
		{Dir: once.Info.Dir}, {Dir: third.write(t, filepath.Join(dir, "third"))},
	}})
	if err != nil {
		t.Fatal(err)
	}
	flat := mergeTapes(t, MergeOptions{}, older, lostDUT, other, third)
	if a, b := summaryOf(again), summaryOf(flat); !cmp.Equal(a.Counts, b.Counts) {
		t.Errorf("%v, and all at once %v", a.Counts, b.Counts)
	}
	if a, b := again.Info.Participants(), flat.Info.Participants(); a != b ||
		!strings.HasPrefix(a, "Participating DUTs 2 of 3; missing: bmg-07") {
		t.Errorf("%q, and all at once %q", a, b)
	}
	if !strings.Contains(
		strings.Join(flat.Info.Notes, "\n"), "the run of bmg-07 that began at 12:00:00 was given several times",
	) {
		t.Errorf("notes %q", flat.Info.Notes)
	}
	if _, err := Resume(t.Context(), nil, Options{Dir: again.Info.Dir}); !errors.As(err, new(*bench.UsageError)) ||
		!strings.Contains(err.Error(), "was merged") {
		t.Errorf("resumed: %v", err)
	}
}

// The error lists every part that cannot be merged, and no file is written or changed.
func TestMergeRefused(t *testing.T) {
	base := t.TempDir()
	good := lostDUT.write(t, filepath.Join(base, "good"))
	bad := lostDUT.write(t, filepath.Join(base, "bad"))
	if err := os.WriteFile(filepath.Join(bad, journalFile), []byte("{\n{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	live := filepath.Join(base, "live")
	s := &script{}
	s.do = do{"one": func(context.Context, *Env, *T) error {
		_, err := Merge(context.Background(), MergeOptions{Parts: []Part{{Dir: live}}, Out: filepath.Join(base, "out")})
		if err == nil || !strings.Contains(err.Error(), "is alive") {
			t.Errorf("a run that is alive: %v", err)
		}
		return nil
	}}
	if _, err := Run(t.Context(), s.registry("a").Items(), Options{Dir: live}); err != nil {
		t.Fatal(err)
	}
	before := tree(t, base)
	for _, c := range []struct {
		out  string
		dirs []string
		want []string
	}{
		{"out", []string{bad, good, filepath.Join(base, "none")}, []string{"journal: line 1", "not a run directory"}},
		{"out", nil, []string{"no run directory to merge"}},
		{"good/out", []string{good}, []string{"is inside"}},
		{"good", []string{good}, []string{"is inside"}},
		{"bad", []string{good}, []string{"bad is not empty"}},
		{"good/run.json/x", []string{live}, []string{"not a directory"}},
	} {
		o := MergeOptions{Out: filepath.Join(base, c.out)}
		for _, dir := range c.dirs {
			o.Parts = append(o.Parts, Part{Dir: dir})
		}
		_, err := Merge(t.Context(), o)
		if !errors.As(err, new(*bench.UsageError)) {
			t.Errorf("%v: %v", c.dirs, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %v, want %s", c.dirs, err, want)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	o := MergeOptions{
		Out: filepath.Join(base, "out"), Parts: []Part{{Dir: good}}, Copying: func(int, int, string) { cancel() },
	}
	if _, err := Merge(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if diff := cmp.Diff(before, tree(t, base)); diff != "" {
		t.Errorf("it was changed:\n%s", diff)
	}
}

// Links in a run directory of an untrusted machine are not followed.
func TestMergeLinks(t *testing.T) {
	base := t.TempDir()
	secret := filepath.Join(base, "secret")
	if err := os.WriteFile(secret, []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	evil := tape{"x", "a.one", "0 begin run\n1 begin case a.one\n2 end case a.one pass\n3 end run"}
	dir := evil.write(t, filepath.Join(base, "evil"))
	for _, name := range []string{"dmesg.txt", "07-file-Class-a/stolen"} {
		if err := os.Symlink(secret, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, infoFile))
	if err != nil {
		t.Fatal(err)
	}
	data = []byte(strings.Replace(string(data), "07-file-Class-a/one", "../../secret", 1))
	if err := os.WriteFile(filepath.Join(dir, infoFile), data, 0o600); err != nil {
		t.Fatal(err)
	}
	run, err := Merge(t.Context(), MergeOptions{Out: filepath.Join(base, "out"), Parts: []Part{{Dir: dir}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range tree(t, run.Info.Dir) {
		if strings.Contains(name, "stolen") || strings.Contains(name, "dmesg") || strings.Contains(name, "secret") {
			t.Errorf("%s was copied", name)
		}
	}
	if got := run.Info.Plan[0].Dir; got != "" {
		t.Errorf("the plan leads to %s", got)
	}
	if !slices.Contains(run.Info.Notes, "left out: 2 files, because only regular files are copied") {
		t.Errorf("notes %q", run.Info.Notes)
	}
}

// unsynced returns a directory on a file system where syncing is cheap, if there is one.
func unsynced(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "vmtb-test")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// drawTape returns a random run of a few cases, cut off at a random place.
func drawTape(t *rapid.T, name string) tape {
	tp := tape{dut: name}
	var lines []string
	second := rapid.IntRange(0, 20).Draw(t, "start")
	line := func(format string, args ...any) {
		lines = append(lines, fmt.Sprintf("%d ", second)+fmt.Sprintf(format, args...))
		second += rapid.IntRange(0, 3).Draw(t, "pause")
	}
	line("begin run")
	var plan []string
	for _, param := range rapid.Permutation([]string{"a", "b", "c"}).Draw(
		t, "fixtures",
	)[:rapid.IntRange(1, 3).Draw(t, "n")] {
		line("begin set-up %s.", param)
		line("end set-up %s.", param)
		for _, name := range []string{"one", "two"} {
			id := param + "." + name
			plan = append(plan, id)
			result := rapid.SampledFrom([]Result{Pass, Fail, Skip, NotRun}).Draw(t, "result")
			if result != NotRun {
				line("begin case %s", id)
			}
			line("end case %s %s", id, result)
		}
	}
	line("end run")
	tp.plan = strings.Join(plan, " ")
	tp.events = strings.Join(lines[:rapid.IntRange(1, len(lines)).Draw(t, "cut")], "\n")
	return tp
}

// The result does not depend on the order of the parts. Every planned case has one result that
// counts. The entries of a part keep their order. No two parts are inside one fixture at once.
func TestMergeAnyOrder(t *testing.T) {
	shm := unsynced(t)
	rapid.Check(t, func(rt *rapid.T) {
		var tapes []tape
		for i := range rapid.IntRange(1, 4).Draw(rt, "parts") {
			tapes = append(tapes, drawTape(rt, fmt.Sprint("dut", i)))
		}
		base, err := os.MkdirTemp(shm, "")
		if err != nil {
			rt.Fatal(err)
		}
		var parts []Part
		planned := map[ID]bool{}
		for i, tp := range tapes {
			extra := rapid.IntRange(0, 4).Draw(rt, "extra") == 0
			parts = append(parts, Part{Dir: tp.write(t, filepath.Join(base, tp.dut)), Extra: extra && i > 0})
			for _, s := range strings.Fields(tp.plan) {
				planned[tapeID(s)] = true
			}
		}
		run, err := Merge(t.Context(), MergeOptions{Parts: parts, Out: filepath.Join(base, "out")})
		if err != nil {
			rt.Fatal(err)
		}
		checkMerged(rt, run, planned, len(tapes) > 1)
		again, err := Merge(t.Context(), MergeOptions{
			Parts: rapid.Permutation(parts).Draw(rt, "order"), Out: filepath.Join(base, "out2"),
		})
		if err != nil {
			rt.Fatal(err)
		}
		for _, name := range []string{infoFile, journalFile} {
			a, _ := os.ReadFile(filepath.Join(run.Info.Dir, name))
			b, _ := os.ReadFile(filepath.Join(again.Info.Dir, name))
			if diff := cmp.Diff(string(a), string(b)); diff != "" {
				rt.Fatalf("%s: %s", name, diff)
			}
		}
	})
}

func checkMerged(rt *rapid.T, run *RunDir, planned map[ID]bool, several bool) {
	last := map[ID]Entry{}
	inside := map[ID]string{} // fixture to the DUT inside it
	open := map[ID]int{}
	now := map[string]time.Time{}
	for _, e := range all(rt, run) {
		if e.Phase == PhaseRun || e.DUT == "" && several {
			continue
		}
		if e.Time.Before(now[e.DUT]) {
			rt.Fatalf("%s goes back in time:\n%s", e.DUT, story(run))
		}
		now[e.DUT] = e.Time
		fixture := e.ID.Fixture()
		if open[fixture] > 0 && inside[fixture] != e.DUT {
			rt.Fatalf("%s comes into %s, where %s is:\n%s", e.DUT, fixture, inside[fixture], story(run))
		}
		inside[fixture] = e.DUT
		open[fixture] += map[Event]int{Begin: 1}[e.Event]
		if e.Event == End && open[fixture] > 0 {
			open[fixture]--
		}
	}
	for _, e := range all(rt, run) {
		if e.Phase == PhaseCase && e.Event == End {
			if last[e.ID].Result != "" && e.Result == NotRun {
				rt.Fatalf("%s has not run, after a result:\n%s", e.ID, story(run))
			}
			last[e.ID] = e
		}
	}
	if len(last) != len(planned) || len(run.Info.Plan) != len(planned) {
		rt.Fatalf(
			"%d cases planned, %d in the plan, %d with a result:\n%s", len(planned), len(run.Info.Plan), len(last),
			story(run),
		)
	}
}

// With any contents of a part's files, a merge has one of two outcomes. It refuses the part and
// writes nothing, or the merged directory can be read and has every planned case.
func FuzzMerge(f *testing.F) {
	f.Add(
		[]byte(`{"format":1,"plan":[{"id":{"file":"f"},"dir":"1-f/x"}]}`),
		[]byte(`{"seq":1,"event":"begin","phase":"case","id":{"file":"f"}}`+"\n"),
	)
	f.Add(
		[]byte(
			`{"format":1,"plan":[{"id":{"file":"f"},"dir":"../x"},{"id":{"file":"f"},"dir":"/"}],`+
				`"duts":[{"name":"","runs":[{}]}]}`,
		), []byte(nil),
	)
	f.Fuzz(func(t *testing.T, info, journal []byte) {
		base := unsynced(t)
		part := filepath.Join(base, "part")
		if err := os.Mkdir(part, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string][]byte{infoFile: info, journalFile: journal} {
			if err := os.WriteFile(filepath.Join(part, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		other := lostDUT.write(t, filepath.Join(base, "other"))
		out := filepath.Join(base, "out")
		run, err := Merge(t.Context(), MergeOptions{Parts: []Part{{Dir: part}, {Dir: other}}, Out: out})
		if err != nil {
			if left, _ := filepath.Glob(filepath.Join(base, "*out*")); len(left) > 0 {
				t.Errorf("%v, and %v is left", err, left)
			}
			return
		}
		fuzzed, err := OpenRun(part)
		if err != nil {
			t.Fatal(err)
		}
		results := summaryOf(run).last
		for _, it := range fuzzed.Info.Plan {
			if _, ok := results[it.ID]; !ok && it.ID != (ID{}) {
				t.Errorf("%s has no result", it.ID)
			}
		}
		if !run.Ended() {
			t.Error("no end")
		}
	})
}
