package run

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/flows"
)

// toyRun runs a class of three cases with the reports of "vmtb run", and returns the output.
func toyRun(
	t *testing.T, o flows.ReportFlags, during func(ctx context.Context, stop func(), dir string),
) (dir, out string, code int, err error) {
	t.Helper()
	r := flow.NewRegistry()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	flow.Add(r, "test_toy", flow.Class[flow.NoParam, int]{
		Name: "TestToy", Params: []flow.NoParam{{}},
		Cases: []flow.Case[int]{
			{Name: "test_a", Func: func(_ context.Context, t *flow.T, _ int) { t.Logf("odd \xff\x1b[31m") }},
			{
				Name: "test_b",
				Func: func(ctx context.Context, t *flow.T, _ int) { during(ctx, stop, dir); t.Errorf("no") },
			},
			{Name: "test_c", Func: func(context.Context, *flow.T, int) {}},
		},
	})
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	if err := o.Check(); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	e := &env.Env{Out: &stdout, Err: &stderr, Registry: r}
	dir, err = flows.NewRunDir(filepath.Join(t.TempDir(), "run"), "")
	if err != nil {
		t.Fatal(err)
	}
	options := flow.Options{Dir: dir, Version: "1"}
	end, err := addReport(e, &options, o)
	if err != nil {
		t.Fatal(err)
	}
	summary, err := flow.Run(ctx, r.Items(), options)
	err = ended(e, summary, err, end())
	return dir, stdout.String() + stderr.String(), summary.ExitCode(), err
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Every run writes results.json, logfile.log and the wanted reports. Reports that are made again
// later are the same.
func TestRunReports(t *testing.T) {
	elsewhere := filepath.Join(t.TempDir(), "a", "junit.xml")
	o := flows.ReportFlags{
		Color:       "never",
		OutputFlags: flows.OutputFlags{Report: []string{"junit:" + elsewhere, "html", "ktap", "lava:-"}},
	}
	dir, out, code, err := toyRun(t, o, func(context.Context, func(), string) {})
	if code != flow.ExitFail || !errors.Is(err, env.ExitCode(flow.ExitFail)) {
		t.Errorf("code %d, error %v", code, err)
	}
	if !strings.Contains(out, "<LAVA_SIGNAL_TESTCASE TEST_CASE_ID=test_toy.Toy.b RESULT=fail") ||
		!strings.Contains(out, "1 failed, 2 passed") {
		t.Errorf("output:\n%s", out)
	}
	live := map[string]string{}
	for _, name := range []string{
		"results.json", "logfile.log", "ktap.txt", "html/index.html", "html/001-test_toy.Toy.html",
	} {
		live[name] = read(t, filepath.Join(dir, name))
	}
	live[elsewhere] = read(t, elsewhere)
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	e := &env.Env{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}
	if err := errors.Join(
		(&reportOptions{flows.ReportFlags{Color: "never"}}).run(e, dir), (&reportOptions{o}).run(e, dir),
	); err != nil {
		t.Fatal(err)
	}
	for name, text := range live {
		path := name
		if !filepath.IsAbs(name) {
			path = filepath.Join(dir, name)
		}
		if diff := cmp.Diff(text, read(t, path)); diff != "" {
			t.Errorf("%s (-live +later)\n%s", name, diff)
		}
	}
}

func TestReportsAfterInterrupt(t *testing.T) {
	dir, _, code, _ := toyRun(
		t, flows.ReportFlags{Color: "auto"}, func(ctx context.Context, stop func(), _ string) { stop(); <-ctx.Done() },
	)
	if code != flow.ExitInterrupted {
		t.Errorf("code %d", code)
	}
	results := read(t, filepath.Join(dir, "results.json"))
	if !strings.Contains(
		results, `"result": "incomplete"`,
	) || !strings.Contains(results, `"result": "notrun"`) || strings.Contains(results, "aborted") {
		t.Errorf("results.json:\n%s", results)
	}
	if log := read(t, filepath.Join(dir, "logfile.log")); !strings.Contains(log, "end run after") {
		t.Errorf("logfile.log:\n%s", log)
	}
}

// If a report cannot be written, the error is an InfraError, and does not replace the exit code of
// a failed flow.
func TestReportFails(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	o := flows.ReportFlags{
		Color: "auto", OutputFlags: flows.OutputFlags{Report: []string{"junit:" + gone + "/junit.xml"}},
	}
	_, out, _, err := toyRun(t, o, func(context.Context, func(), string) {
		if err := os.RemoveAll(gone); err != nil {
			t.Error(err)
		}
	})
	if !errors.Is(err, env.ExitCode(flow.ExitFail)) || !strings.Contains(out, "vmtb: write the reports: ") ||
		!strings.Contains(out, "vmtb report writes them again") {
		t.Errorf("%v, output\n%s", err, out)
	}
	e := &env.Env{Err: &bytes.Buffer{}}
	var infra *bench.InfraError
	if err := ended(e, flow.Summary{}, nil, errors.New("full")); !errors.As(err, &infra) {
		t.Errorf("%v", err)
	}
	if err := ended(e, flow.Summary{}, nil, nil); err != nil {
		t.Error(err)
	}
}

// While a run is alive, "vmtb report" does not write the run's own files. It makes other reports
// from the results so far.
func TestReportOfLiveRun(t *testing.T) {
	_, _, _, _ = toyRun(t, flows.ReportFlags{Color: "auto"}, func(ctx context.Context, _ func(), dir string) {
		var out bytes.Buffer
		e := &env.Env{Out: &out, Err: &bytes.Buffer{}}
		if err := (&reportOptions{flows.ReportFlags{Color: "never"}}).run(e, dir); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "results.json")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("results.json of a run that lives: %v", err)
		}
		o := flows.ReportFlags{Color: "never", OutputFlags: flows.OutputFlags{Report: []string{"ktap:-"}}}
		if err := (&reportOptions{o}).run(e, dir); err != nil {
			t.Error(err)
		}
		if !strings.Contains(out.String(), "test_toy::TestToy::test_b INCOMPLETE") ||
			!strings.Contains(out.String(), "not ok 2 test_b # ERROR incomplete") {
			t.Errorf("%s", out.String())
		}
	})
}
