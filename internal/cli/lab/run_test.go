package lab

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/flows"
	"vmtb/internal/fake/fakeenv"
	"vmtb/report"
)

// What a configuration names goes into the lab with it, if it lies below it.
func TestGiveDirs(t *testing.T) {
	base, dir, other := t.TempDir(), t.TempDir(), t.TempDir()
	profiles := filepath.Join(base, "my", "profiles")
	if err := errors.Join(os.MkdirAll(profiles, 0o755), os.WriteFile(filepath.Join(profiles, "x.json"), []byte("{}"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the lab may be started again with the same directory
		if err := giveDirs(dir, base, profiles, filepath.Join(base, "none")); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := os.ReadFile(filepath.Join(dir, "my", "profiles", "x.json")); err != nil || string(data) != "{}" {
		t.Errorf("%q, %v", data, err)
	}
	if err := giveDirs(dir, base, other); !errors.As(err, new(*bench.UsageError)) {
		t.Errorf("%v, want a UsageError for a directory elsewhere", err)
	}
}

// What failed after a run does not hide what became of the run.
func TestEnded(t *testing.T) {
	failed := &bench.InfraError{Op: "write the reports", Err: errors.New("no space")}
	tests := []struct {
		code int
		errs []error
		want int
		said string
	}{
		{flow.ExitPass, []error{nil, nil}, flow.ExitPass, ""},
		{flow.ExitFail, []error{nil, nil}, flow.ExitFail, ""},
		{flow.ExitFail, []error{nil, failed}, flow.ExitFail, "no space"},
		{flow.ExitNotRestored, []error{failed, nil}, flow.ExitNotRestored, "no space"},
		{flow.ExitPass, []error{nil, failed}, flow.ExitError, ""},
	}
	for _, tt := range tests {
		var said bytes.Buffer
		got, err := flow.ExitPass, ended(&env.Env{Err: &said}, tt.code, tt.errs...)
		if code, ok := errors.AsType[env.ExitCode](err); ok {
			got = int(code)
		} else if err != nil {
			got = flow.ExitError
		}
		if got != tt.want || tt.said != "" && !strings.Contains(said.String(), tt.said) {
			t.Errorf("code %d with %v: exit code %d, said %q, want %d, %q", tt.code, tt.errs, got, said.String(), tt.want, tt.said)
		}
	}
}

// The run in the lab records the command line that the user typed here.
func TestLabArgv(t *testing.T) {
	var asked flows.ReportFlags
	for _, arg := range (&runOptions{}).lookArgs(&env.Env{}) {
		if value, ok := strings.CutPrefix(arg, "--called-as="); ok {
			asked.CalledAs = value
		}
	}
	if err := asked.ReadArgv(); err != nil || asked.CalledAs == "" || !slices.Equal(asked.Argv, os.Args) {
		t.Errorf("%q, %v, want %q", asked.Argv, err, os.Args)
	}
}

// The lab's reports are made on this side, also of a run that the DUT did not survive.
func TestLabReports(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	r := flow.NewRegistry()
	flow.Add(r, "test_toy", flow.Class[flow.NoParam, int]{
		Name: "TestToy", Params: []flow.NoParam{{}},
		Cases: []flow.Case[int]{{Name: "test_a", Func: func(context.Context, *flow.T, int) {}}},
	})
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	e, _, _ := fakeenv.New(t.TempDir(), nil)
	options := flow.Options{Dir: dir, Version: "1"}
	if _, err := flow.Run(t.Context(), r.Items(), options); err != nil {
		t.Fatal(err)
	}
	o := flows.OutputFlags{Report: []string{"junit"}}
	if err := o.Check(); err != nil {
		t.Fatal(err)
	}
	for _, run := range []string{filepath.Join(dir, "none"), dir} {
		files, err := flows.OpenReports(e, run, append(report.Default(), o.Specs...), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := writeReports(run, files); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"results.json", "logfile.log", "junit.xml"} {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err != nil || len(data) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(data), err)
		}
	}
}
