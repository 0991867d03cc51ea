package flow

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"vmtb/bench"
	"vmtb/internal/procfs"
)

// run.json is complete on disk before anything runs. The run is alive at first, and dead after its
// end.
func TestRunDir(t *testing.T) {
	s := &script{}
	items := s.registry("a").Items()
	dir := filepath.Join(t.TempDir(), "deep", "run")
	var live *RunDir
	o := Options{
		Dir: dir, Version: "1.2", DUT: "lab", Argv: []string{"vmtb", "run"}, Config: json.RawMessage(`{"a":1}`),
		Notes:  []string{"n"},
		Policy: Policy{RerunFailed: 1, AbortOn: []string{"fail"}}, KernelLogRules: json.RawMessage(`{}`),
		TimeoutScale: 2, Timeout: time.Minute,
	}
	var began Info
	o.Started = func(info Info) { began = info }
	s.do = do{"set-up a1": func(context.Context, *Env, *T) (err error) { live, err = OpenRun(dir); return err }}
	s.undo.s = s
	o.OpenUndo = func(path string) (Undo, error) {
		if want := filepath.Join(dir, "undo.jsonl"); path != want {
			t.Errorf("undo journal at %s, want %s", path, want)
		}
		return &s.undo, nil
	}
	if _, err := Run(t.Context(), items, o); err != nil {
		t.Fatal(err)
	}
	dead, err := OpenRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	if live == nil || !live.Alive || dead.Alive {
		t.Fatalf("alive while it runs: %+v, afterwards %v", live, dead.Alive)
	}
	if n := len(live.Entries); n != 4 || live.Entries[n-1].Phase != PhaseSetUp { // run, needs twice, set-up
		t.Errorf("entries on disk in the set-up: %v", live.Entries)
	}
	want := Info{
		Format: 1, Version: "1.2", DUT: "lab", Argv: o.Argv, Config: json.RawMessage(`{"a":1}`), Notes: o.Notes,
		Policy: o.Policy, KernelLogRules: o.KernelLogRules,
		TimeoutScale: 2, Timeout: time.Minute, PID: os.Getpid(), Dir: dir, Plan: items,
		Start: dead.Info.Start, BootID: dead.Info.BootID, PIDStart: dead.Info.PIDStart,
		MachineID: procfs.MachineID(),
	}
	for i := range want.Plan {
		want.Plan[i].Dir = "01-file-Class-a/" + want.Plan[i].ID.Case
	}
	var compact strings.Builder
	_ = json.NewEncoder(&compact).Encode(dead.Info.Config)
	dead.Info.Config = json.RawMessage(strings.TrimSpace(compact.String()))
	ignore := cmpopts.IgnoreUnexported(Item{})
	if diff := cmp.Diff(want, dead.Info, ignore); diff != "" {
		t.Errorf("read (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(want, began, ignore); diff != "" {
		t.Errorf("started (-want +got)\n%s", diff)
	}
	if len(want.BootID) != 36 || want.PIDStart == 0 || time.Since(want.Start) > time.Minute {
		t.Errorf("boot id %q, process start %d, start %v", want.BootID, want.PIDStart, want.Start)
	}
	doc, err := os.ReadFile("../docs/run-directory.md")
	if err != nil {
		t.Fatal(err)
	}
	data, _ := os.ReadFile(filepath.Join(dir, "run.json"))
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	for name := range fields {
		if !strings.Contains(string(doc), "`"+name+"`") {
			t.Errorf("docs/run-directory.md does not know the field %s", name)
		}
	}
}

// A run does not change a directory that another run or another program uses.
func TestRunDirTaken(t *testing.T) {
	s := &script{}
	dir := t.TempDir()
	items := s.registry("a").Items()
	again := func() {
		t.Helper()
		before := tree(t, dir)
		_, err := Run(t.Context(), items, Options{Dir: dir})
		var usage *bench.UsageError
		if !errors.As(err, &usage) {
			t.Errorf("error %v", err)
		}
		if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
			t.Errorf("it was changed:\n%s", diff)
		}
	}
	s.do = do{"one": func(context.Context, *Env, *T) error { again(); return nil }}
	if _, err := Run(t.Context(), items, Options{Dir: dir}); err != nil { // an empty directory is allowed
		t.Fatal(err)
	}
	again()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again()
	_, err := Run(t.Context(), items, Options{Dir: filepath.Join(dir, "thesis.tex", "x")})
	var infra *bench.InfraError
	if !errors.As(err, &infra) {
		t.Errorf("below a file: %v", err)
	}
}

func tree(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		names = append(names, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestUndoCannotBeOpened(t *testing.T) {
	s := &script{}
	_, err := Run(t.Context(), s.registry("a").Items(), Options{
		Dir: t.TempDir(), OpenUndo: func(string) (Undo, error) { return nil, errBoom },
	})
	if !errors.Is(err, errBoom) || len(s.trace) != 0 {
		t.Errorf("error %v, trace %q", err, s.trace)
	}
}

func TestOpenRunErrors(t *testing.T) {
	dir := t.TempDir()
	try := func(name, content, want string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenRun(dir)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s %q: %v, want %q", name, content, err, want)
		}
	}
	if _, err := OpenRun(dir); err == nil || !strings.HasPrefix(err.Error(), "not a run directory: ") {
		t.Errorf("an empty directory: %v", err)
	}
	try("run.json", `{"format":2}`, "has format 2; this vmtb reads 1")
	try("run.json", `{"form`, "unexpected end of JSON")
	try("run.json", `{"format":1}`, "") // vmtb died before it created the journal
	try("journal.jsonl", "{}\n{\"seq\":2}\n", "line 1: sequence number 0, want 1")
	try("journal.jsonl", "{\"seq\":1}\n{\"seq\":2", "")
}
