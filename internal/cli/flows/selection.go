package flows

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/internal/cli/env"
	"vmtb/internal/prose"
)

// SelectionHelp is the help text about selections.
const SelectionHelp = `A selection is an id (test_basic::TestVmSetup::test_vm_boot[1VF-(P:AUTO S:INFINITE)]) or
a part of one: the case, the class, the file or the parameter may be left out. The file may carry a directory
and ".py". "*" is the only wildcard. [1VF] stands for every parameter that begins with "1VF-". Quote it:
brackets mean something to a shell.`

// SelectionFlags narrow the selection in the arguments.
type SelectionFlags struct {
	Keyword    string
	lastFailed string
	failed     string // --failed-in
	lf         bool
	Collect    bool
	Shard      string
	Durations  []string // run directories, for Shard
}

// newestRun is the value of --last-failed if the flag has no value.
const newestRun = "newest"

// Add adds all these flags.
func (f *SelectionFlags) Add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(
		&f.Keyword, "keyword", "k", "", `only flows whose id has these words: "migration and not (1vm or idle)"`,
	)
	flags.Var(
		(*lastFailedValue)(&f.lastFailed), "last-failed",
		"only flows that did not pass in the newest run below vmtb-results that has ended, or in the one in `[=DIR]`",
	)
	// The help shows any other value of a "bool" flag.
	flags.Lookup("last-failed").NoOptDefVal = "true"
	flags.StringVar(&f.failed, "failed-in", "", "only flows that did not pass in the run in the directory `DIR`")
	// These are the names of pytest.
	for name, at := range map[string]*bool{"lf": &f.lf, "co": &f.Collect, "collect-only": &f.Collect} {
		flags.BoolVar(at, name, false, "")
		flags.Lookup(name).Hidden = true
	}
	flags.StringVar(&f.Shard, "shard", "", "only the i-th of n parts of the selection: i/n")
	addDurations(cmd, &f.Durations)
}

// A lastFailedValue is a string whose default pflag does not print in the help.
type lastFailedValue string

func (v *lastFailedValue) String() string { return string(*v) }
func (v *lastFailedValue) Type() string   { return "bool" }

func (v *lastFailedValue) Set(s string) error {
	if s == "true" {
		s = newestRun
	}
	*v = lastFailedValue(s)
	return nil
}

// FailedIn returns the directory of the run whose failures are selected: a directory, [newestRun],
// or "" for none.
func (f *SelectionFlags) FailedIn() string {
	switch {
	case f.failed != "":
		return f.failed
	case f.lastFailed == "" && f.lf:
		return newestRun
	}
	return f.lastFailed
}

// takeRunDir removes the directory after a --last-failed without a value from the selection, and
// sets the flag to it. pflag does not read the next word as the value of a flag with an optional
// value. So the directory would be taken for a selection.
func (f *SelectionFlags) takeRunDir(selection []string) []string {
	if f.FailedIn() != newestRun {
		return selection
	}
	for i, word := range selection {
		if _, err := flow.OpenRun(RunDirIn(word)); err == nil {
			f.failed = word
			return slices.Delete(slices.Clone(selection), i, i+1)
		}
	}
	return selection
}

// Choose returns the flows that the arguments and flags of a command select. notes are lines for
// the user.
func (f *SelectionFlags) Choose(e *env.Env, selection []string) (items []flow.Item, notes []string, err error) {
	items, notes, err = e.Registry.Select(f.takeRunDir(selection))
	if err == nil && f.Keyword != "" {
		items, err = byKeyword(items, f.Keyword)
	}
	if dir := f.FailedIn(); err == nil && dir != "" {
		var note string
		items, note, err = lastFailed(items, dir)
		notes = append(notes, note)
	}
	if err != nil {
		return nil, notes, err
	}
	n := len(items)
	if items, err = f.takeShard(items); err != nil || f.Shard == "" {
		return items, notes, err
	}
	return items, append(notes, fmt.Sprintf("shard %s: %d of %s", f.Shard, len(items), prose.Count(n, "flow"))), nil
}

func byKeyword(items []flow.Item, expression string) ([]flow.Item, error) {
	k, err := flow.ParseKeyword(expression)
	if err != nil {
		return nil, err
	}
	items = slices.DeleteFunc(items, func(it flow.Item) bool { return !k.Match(it.Name) })
	if len(items) == 0 {
		return nil, &bench.UsageError{
			Err: fmt.Errorf("%w -k %q", flow.ErrNoMatch, expression), Advice: "vmtb list shows all flows",
		}
	}
	return items, nil
}

func lastFailed(items []flow.Item, dir string) (failed []flow.Item, note string, err error) {
	if dir == newestRun {
		if dir, err = newest(ResultsDir); err != nil {
			return nil, "", err
		}
	}
	run, err := flow.OpenRun(RunDirIn(dir))
	if err != nil {
		return nil, "", &bench.UsageError{
			Err: fmt.Errorf("--last-failed: %w", err), Advice: "give the directory of a run",
		}
	}
	if run.Alive && !run.Ended() {
		return nil, "", &bench.UsageError{
			Err: fmt.Errorf("--last-failed: the run in %s has not ended", dir), Advice: "wait for its end",
		}
	}
	failed = run.Failed(items)
	if len(failed) == 0 {
		return nil, "", &bench.UsageError{
			Err: fmt.Errorf(
				"%w: all that is selected has passed, or was skipped, in %s, or was not part of it", flow.ErrNoMatch,
				dir,
			),
		}
	}
	return failed, fmt.Sprintf("did not pass in %s: %d of %s", dir, len(failed), prose.Count(len(items), "flow")), nil
}

// newest returns the directory of the latest run below results that has ended. Runs that are in
// progress or died have no list of failures.
func newest(results string) (string, error) {
	entries, err := os.ReadDir(results) // their names begin with the time
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", &bench.UsageError{Err: err}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(b.Name(), a.Name()) })
	for _, e := range entries {
		dir := RunDirIn(filepath.Join(results, e.Name()))
		if run, err := flow.OpenRun(dir); err == nil && run.Ended() {
			return dir, nil
		}
	}
	return "", &bench.UsageError{
		Err:    fmt.Errorf("--last-failed: no run below %s has ended", results),
		Advice: "--failed-in=DIR names the directory of a run",
	}
}

// CompleteSelection offers the ids of flows.
func CompleteSelection(e *env.Env) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		var ids []string
		for _, it := range e.Registry.Items() {
			if strings.HasPrefix(it.Name, begun) {
				ids = append(ids, it.Name)
			}
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}
