package flow

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A scriptedWatcher returns prepared findings in each phase. The key is the name of the folder and
// a count: "fixture-1 2".
type scriptedWatcher struct {
	finds map[string][]Finding
	dir   string
	seen  map[string]int
	in    []string
	logs  []string
}

func (w *scriptedWatcher) Enter(dir string) {
	w.dir = filepath.Base(dir)
	w.in = append(w.in, w.dir)
}

func (w *scriptedWatcher) Leave() []Finding {
	if w.seen == nil {
		w.seen = map[string]int{}
	}
	w.seen[w.dir]++
	place := w.dir
	if n := w.seen[w.dir]; n > 1 || strings.HasPrefix(place, "fixture") {
		place += " " + string(rune('0'+n))
	}
	return w.finds[place]
}

func (w *scriptedWatcher) Follow(machine, path string) (stop func()) {
	w.logs = append(w.logs, machine+" "+path)
	return func() { w.logs = append(w.logs, machine+" stopped") }
}

// Findings of a phase lower the result of the case to which the phase belongs.
func TestWatch(t *testing.T) {
	warn := Finding{"host", "odd", false, "odd thing"}
	fail := Finding{"vm0", "oops", true, "BUG: no"}
	taint := Finding{"host", RuleTaint, true, "tainted W"}
	skips := func(_ context.Context, _ *Env, t *T) error { t.Skipf("no GPU"); return nil }
	for _, tt := range []struct {
		name   string
		finds  map[string][]Finding // the phases of fixture-1: needs, set-up, reset, tear-down, restore
		do     do
		policy Policy
		final  string
		exit   int
		entry  string
		reason string
		blame  Blame
	}{
		{"nothing", nil, nil, Policy{}, "..", ExitPass, "one", "", ""},
		{
			"warning",
			map[string][]Finding{"one": {warn}},
			nil,
			Policy{},
			"W.", ExitPass, "one",
			"host: odd thing (odd)", BlameHost,
		},
		{
			"failure",
			map[string][]Finding{"one": {warn, fail}},
			nil,
			Policy{},
			"D.", ExitFail, "one",
			"host: odd thing (odd)\nvm0: BUG: no (oops)", BlameGuest,
		},
		{
			"failure of a skip",
			map[string][]Finding{"one": {fail}},
			do{"one": skips},
			Policy{},
			"D.", ExitFail, "one",
			"no GPU\nvm0: BUG: no (oops)", BlameGuest,
		},
		{
			"warning in a skip",
			map[string][]Finding{"one": {warn}},
			do{"one": skips},
			Policy{},
			"s.", ExitPass, "one",
			"no GPU\nhost: odd thing (odd)", "",
		},
		{
			"a report of several lines",
			map[string][]Finding{"one": {{"host", "lockdep", true, "WARNING: possible\nclass may\n </TASK>"}}},
			nil,
			Policy{},
			"D.", ExitFail, "one",
			"host: WARNING: possible (lockdep)", BlameHost,
		},
		{
			"a fail stays one",
			map[string][]Finding{"one": {fail}},
			do{"one": fails(errBoom)},
			Policy{},
			"F.",
			ExitFail, "one", "boom\nvm0: BUG: no (oops)", "",
		},
		{
			"set-up",
			map[string][]Finding{"fixture-1 2": {fail}},
			nil,
			Policy{},
			"D.", ExitFail, "one",
			"vm0: BUG: no (oops)", BlameGuest,
		},
		{
			"reset",
			map[string][]Finding{"fixture-1 3": {warn}},
			nil,
			Policy{},
			".W", ExitPass, "two",
			"host: odd thing (odd)", BlameHost,
		},
		{
			"set-up fails",
			map[string][]Finding{"fixture-1 2": {fail}},
			do{"set-up 1": fails(errBoom)},
			Policy{},
			"EE",
			ExitError, "two", "set-up failed: boom\nvm0: BUG: no (oops)", "",
		},
		{
			"tear-down",
			map[string][]Finding{"fixture-1 4": {fail}},
			nil,
			Policy{},
			"..", ExitFail, "tear-down",
			"vm0: BUG: no (oops)", BlameGuest,
		},
		{
			"restore",
			map[string][]Finding{"fixture-1 5": {warn}},
			nil,
			Policy{},
			"..", ExitPass, "restore",
			"host: odd thing (odd)", BlameHost,
		},
		{
			"allowed by the class",
			map[string][]Finding{"one": {{"host", "r", true, "class may"}}},
			nil,
			Policy{},
			"..", ExitPass, "one", "", "",
		},
		{
			"in the set-up, too",
			map[string][]Finding{"fixture-1 2": {{"host", "r", true, "class may"}}},
			nil,
			Policy{},
			"..", ExitPass, "one", "", "",
		},
		{
			"allowed in one case",
			map[string][]Finding{"one": {{"host", "r", true, "one may"}}, "two": {{"host", "r", true, "one may"}}},
			nil,
			Policy{},
			".D", ExitFail, "one", "", "",
		},
		{
			"abort on taint",
			map[string][]Finding{"one": {taint}},
			do{"one": fails(errBoom)},
			Policy{AbortOn: []string{"taint"}},
			"Fn", ExitAborted, "one", "boom\nhost: tainted W (taint)", "",
		},
		{
			"abort on dmesg-warn",
			map[string][]Finding{"one": {warn}},
			nil,
			Policy{AbortOn: []string{"dmesg-warn"}},
			"Wn", ExitAborted, "one", "host: odd thing (odd)", BlameHost,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &scriptedWatcher{finds: tt.finds}
			s := &script{do: tt.do}
			got := s.run(t.Context(), t, Options{Watch: w, Policy: tt.policy}, "")
			if got.final("") != tt.final || got.ExitCode() != tt.exit {
				t.Errorf("results %s, exit code %d; want %s, %d", got.final(""), got.ExitCode(), tt.final, tt.exit)
			}
			if e := got.end(t, tt.entry); e.Reason != tt.reason || e.Blame != tt.blame {
				t.Errorf("%s: reason %q, blame %q; want %q, %q", tt.entry, e.Reason, e.Blame, tt.reason, tt.blame)
			}
			for _, found := range tt.finds { // every finding is in the journal, allowed or not
				for _, f := range found {
					if !slices.ContainsFunc(got.entries, func(e Entry) bool {
						return e.Event == Log && e.Source == f.Source && e.Rule == f.Rule && e.Message == f.Text
					}) {
						t.Errorf("the journal does not tell of %v", f)
					}
				}
			}
		})
	}
}

// The watcher gets each phase in order, the run itself first. It follows a machine until the end of
// its fixture.
func TestWatchPhases(t *testing.T) {
	w := &scriptedWatcher{}
	s := &script{
		do: do{"set-up 1": func(_ context.Context, env *Env, _ *T) error { env.Watch("vm0", "/console"); return nil }},
	}
	got := s.run(t.Context(), t, Options{Watch: w}, "")
	if want := "fixture-1 fixture-1 one fixture-1 two fixture-1 fixture-1"; strings.Join(w.in[1:], " ") != want ||
		w.in[0] != filepath.Base(got.dir) {
		t.Errorf("entered %q, want the run directory and %s", w.in, want)
	}
	if want := "vm0 /console; vm0 stopped"; strings.Join(w.logs, "; ") != want {
		t.Errorf("logs %q, want %s", w.logs, want)
	}
}

func TestAllowLogMistake(t *testing.T) {
	r := NewRegistry()
	Add(r, "file", Class[NoParam, int]{
		Params: []NoParam{{}}, AllowLog: []string{"("},
		Cases: []Case[int]{{Name: "one", Func: func(context.Context, *T, int) {}}},
	})
	if err := r.Err(); err == nil || !strings.Contains(err.Error(), "AllowLog: error parsing regexp") {
		t.Error(err)
	}
}
