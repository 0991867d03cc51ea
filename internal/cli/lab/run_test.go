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

	"github.com/spf13/pflag"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/flows"
	runcmd "vmtb/internal/cli/run"
	"vmtb/internal/fake/fakeenv"
	"vmtb/report"
)

// A directory that the configuration names is copied into the lab. It must be below the
// configuration's directory.
func TestGiveDirs(t *testing.T) {
	base, dir, other := t.TempDir(), t.TempDir(), t.TempDir()
	profiles := filepath.Join(base, "my", "profiles")
	if err := errors.Join(
		os.MkdirAll(profiles, 0o755), os.WriteFile(filepath.Join(profiles, "x.json"), []byte("{}"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the lab may start again with the same directory
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

// A failure after a run does not replace the exit code of a failed run.
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
			t.Errorf(
				"code %d with %v: exit code %d, said %q, want %d, %q", tt.code, tt.errs, got, said.String(), tt.want,
				tt.said,
			)
		}
	}
}

// The run in the lab records the command line that the user typed on this machine.
func TestLabArgv(t *testing.T) {
	var asked flows.ReportFlags
	for _, arg := range lookArgs(&env.Env{}, nil) {
		if value, ok := strings.CutPrefix(arg, "--called-as="); ok {
			asked.CalledAs = value
		}
	}
	if err := asked.ReadArgv(); err != nil || asked.CalledAs == "" || !slices.Equal(asked.Argv, os.Args) {
		t.Errorf("%q, %v, want %q", asked.Argv, err, os.Args)
	}
}

// This machine makes the lab's reports, even if the DUT did not survive the run.
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

// Every flag of "vmtb run" and of "vmtb lab run" has one treatment, and the flag sets match it.
func TestFlagTreatments(t *testing.T) {
	e, _, _ := fakeenv.New(t.TempDir(), nil)
	here, there := runcmd.Command(e), labFlags(t, e)
	here.InitDefaultHelpFlag()
	run := map[string]bool{}
	here.Flags().VisitAll(func(f *pflag.Flag) { run[f.Name] = true })
	lab := map[string]bool{}
	there.VisitAll(func(f *pflag.Flag) { lab[f.Name] = true })
	for name, is := range flagTreatments {
		wantRun, wantLab := is != labOnly, is != absent
		if is == replaced {
			wantLab = lab[name] // may or may not be a flag of the lab
		}
		if run[name] != wantRun || lab[name] != wantLab {
			t.Errorf(
				"--%s: run has it: %v, lab run has it: %v: that is not its treatment, %d", name, run[name], lab[name],
				is,
			)
		}
	}
	for _, flags := range []map[string]bool{run, lab} {
		for name := range flags {
			if _, ok := flagTreatments[name]; !ok {
				t.Errorf("--%s has no treatment: add it to flagTreatments", name)
			}
		}
	}
}

// labFlags returns the flags of "vmtb lab run", with those of "vmtb lab".
func labFlags(t *testing.T, e *env.Env, args ...string) *pflag.FlagSet {
	t.Helper()
	cmd, rest, err := Command(e).Find(append([]string{"run"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	cmd.InitDefaultHelpFlag()
	if err := cmd.ParseFlags(rest); err != nil {
		t.Fatal(err)
	}
	return cmd.Flags()
}

// Each flag that the user typed reaches the run in the DUT, except for flags that this machine
// handles or replaces.
func TestForwardArgs(t *testing.T) {
	e, _, _ := fakeenv.New(t.TempDir(), nil)
	for _, c := range []struct{ typed, want []string }{
		{nil, nil},
		{[]string{"-vv", "-q", "-x"}, []string{"--exitfirst=true", "--quiet=true", "--verbose=2"}},
		{
			[]string{"--abort-on", "fail,taint", "--abort-on=lockdep"},
			[]string{"--abort-on=fail", "--abort-on=taint", "--abort-on=lockdep"},
		},
		{
			[]string{"-k", "not (a or b)", "--timeout=90m", "--workload-scale", "0.5"},
			[]string{"--keyword=not (a or b)", "--timeout=1h30m0s", "--workload-scale=0.5"},
		},
		{
			[]string{
				"--rerun-failed=2", "--repeat", "3", "--maxfail=1", "--json", "--durations=0", "--durations=runs/1",
			},
			[]string{"--durations=0", "--json=true", "--maxfail=1", "--repeat=3", "--rerun-failed=2"},
		},
		{
			[]string{"-s", "--log-cli-level=DEBUG", "--tb", "short"},
			[]string{"--log-cli-level=DEBUG", "--no-capture=true", "--tb=short"},
		},
		{
			[]string{
				"--gpu=ptl", "--package", "strace", "--lf", "--report=html", "--color=always", "--shard=1/2",
				"--durations=runs/1", "--vm-memory=4G", "--quarantine=q.json", "--dry-run",
			},
			nil,
		},
	} {
		if got := forwardArgs(labFlags(t, e, c.typed...)); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.typed, got, c.want)
		}
	}
}
