package work

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"vmtb/bench"
)

// An IGT workload runs tests with igt_runner. Its results go to a new directory below
// [bench.IGTConfig].ResultDir.
type IGT struct {
	Config bench.IGTConfig `json:"config"`
	// "igt@xe_exec_store@basic-store", in this order.
	Tests []string `json:"tests"`
	// How often the whole list is run, 1 by default.
	Repeat    int        `json:"repeat,omitempty"`
	Blocklist []string   `json:"blocklist,omitempty"` // regular expressions of tests to skip
	Options   []string   `json:"options,omitempty"`   // for igt_runner, after those of Config
	Skips     SkipPolicy `json:"skips,omitempty"`
}

// A SkipPolicy says how a skipped test affects the verdict if nothing failed.
type SkipPolicy string

// These are the policies.
const (
	SkipSkips SkipPolicy = ""       // the verdict is "skip"
	SkipFails SkipPolicy = "fails"  // the verdict is "fail", as in the Python tool
	SkipMinor SkipPolicy = "ignore" // the verdict is "pass" if at least one test passed
)

func (g IGT) String() string {
	s := fmt.Sprintf("%d IGT tests", len(g.Tests))
	if len(g.Tests) == 1 {
		s = g.Tests[0]
	}
	if g.Repeat > 1 {
		s += fmt.Sprintf(" (%d times)", g.Repeat)
	}
	return s
}

// Programs returns the paths of the programs that the machine must have: the runner and the tests.
func (g IGT) Programs() []string {
	programs := []string{path.Join(g.Config.ToolDir, "igt_runner")}
	for _, t := range g.Tests {
		if f := strings.Split(t, "@"); len(f) > 1 && f[0] == "igt" {
			programs = append(programs, path.Join(g.Config.TestDir, f[1]))
		}
	}
	slices.Sort(programs[1:])
	return slices.Compact(programs)
}

func (g IGT) job(dir string) (job, error) {
	if len(g.Tests) == 0 {
		return job{}, &bench.UsageError{Err: errors.New("IGT: no tests")}
	}
	for _, line := range slices.Concat(g.Tests, g.Blocklist) {
		if line == "" || strings.ContainsAny(line, "\n\x00") {
			return job{}, &bench.UsageError{Err: fmt.Errorf("IGT: %q is not a test or an expression", line)}
		}
	}
	options, err := splitWords(g.Config.Options)
	if err != nil {
		return job{}, &bench.UsageError{Err: fmt.Errorf("igt.options: %w", err)}
	}
	j := job{files: map[string][]byte{"tests": []byte(strings.Repeat(lines(g.Tests), max(1, g.Repeat)))}}
	argv := slices.Concat(g.Programs()[:1], options, g.Options)
	if len(g.Blocklist) > 0 {
		j.files["blocklist"] = []byte(lines(g.Blocklist))
		argv = append(argv, "-b", path.Join(dir, "blocklist"))
	}
	results := g.results(dir)
	if path.Dir(results) != dir {
		j.results = results
	}
	j.parents = []string{path.Dir(results)} // igt_runner makes one level only
	j.command = bench.Command{
		Argv: append(argv, "--test-list", path.Join(dir, "tests"), g.Config.TestDir, results),
		Env:  libraryPath(g.Config),
	}
	return j, nil
}

// results returns the run's result directory.
func (g IGT) results(dir string) string {
	if g.Config.ResultDir == "" {
		return path.Join(dir, "results")
	}
	return path.Join(g.Config.ResultDir, path.Base(dir))
}

func lines(list []string) string { return strings.Join(list, "\n") + "\n" }

// judge derives the verdict from results.json, because igt_runner also exits with 0 when tests
// failed.
func (g IGT) judge(ctx context.Context, m bench.Machine, dir string, r *Result) error {
	name := path.Join(g.results(dir), "results.json")
	data, err := m.ReadFile(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		r.fail("igt_runner left no results.json: %s", g.lastOutput(r))
		return nil
	}
	if err != nil {
		return err
	}
	if r.IGT, err = ParseIGT(data); err != nil {
		r.fail("%s: %v", name, err)
		return nil
	}
	g.verdict(r)
	return nil
}

// lastOutput returns how igt_runner ended, and the end of its output.
func (g IGT) lastOutput(r *Result) string {
	err := r.Exit.Err(bench.Command{Argv: []string{path.Join(g.Config.ToolDir, "igt_runner")}})
	if err == nil {
		return cmp.Or(bench.Gist(r.Exit.Stderr, 5), bench.Tail(r.Exit.Stdout, 5), "no output")
	}
	return err.Error()
}

func (g IGT) verdict(r *Result) {
	root, skipped := r.IGT.Totals, []string(nil)
	for _, t := range r.IGT.Tests {
		switch {
		case t.Status.Bad():
			r.fail("%s: %s%s", t.Name, t.Status, colon(bench.Gist([]byte(cmp.Or(t.Err, t.Out)), 3)))
		case t.missing():
			r.fail("%s: %s", t.Name, strings.TrimSpace(t.Err))
		case t.Status == StatusSkip:
			skipped = append(skipped, t.Name)
		}
	}
	switch {
	case root.Bad() > 0: // for a repeated test, Tests has only the last result
		r.fail("%v", root)
	case !r.Exit.OK():
		r.fail("%s", g.lastOutput(r))
	case root.Good() == 0 && root[StatusSkip] == 0:
		r.fail("no test was run")
	case r.Verdict == Pass && root[StatusSkip] > 0:
		g.skip(r, strings.Join(skipped, ", "))
	}
}

func (g IGT) skip(r *Result, skipped string) {
	reason := "skipped" + colon(cmp.Or(skipped, r.IGT.Totals.String()))
	switch {
	case g.Skips == SkipFails:
		r.fail("%s", reason)
	case g.Skips != SkipMinor || r.IGT.Totals.Good() == 0:
		r.Verdict, r.Reason = Skip, reason
	}
}

func colon(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}

// libraryPath returns the environment in which IGT's programs find their libraries.
func libraryPath(c bench.IGTConfig) []string {
	if c.LibDir == "" {
		return nil
	}
	return []string{"LD_LIBRARY_PATH=" + c.LibDir}
}
