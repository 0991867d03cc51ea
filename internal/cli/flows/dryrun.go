package flows

import (
	"fmt"
	"strings"
	"time"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/output"
	"vmtb/internal/prose"
)

// DryRun prints the plan of a run. As JSON it prints the same as "vmtb list --json", otherwise the
// fixtures with their cases.
func DryRun(e *env.Env, items []flow.Item, notes []string, config *bench.Config, asJSON bool) error {
	if asJSON {
		return output.Print(e.Out, items)
	}
	for _, note := range notes {
		fmt.Fprintf(e.Out, "note: %s\n", note)
	}
	fixtures := 0
	for i, it := range items {
		if id := it.ID.Fixture(); i == 0 || items[i-1].ID.Fixture() != id {
			fixtures++
			fmt.Fprintf(e.Out, "\n%s\n", id)
			if it.ClassDoc != "" {
				fmt.Fprintf(e.Out, "  %s\n", it.ClassDoc)
			}
			if len(it.Needs) > 0 {
				fmt.Fprintf(e.Out, "  needs: %s\n", strings.Join(it.Needs, ", "))
			}
			fmt.Fprintf(e.Out, "  deadlines: set-up %s, tear-down %s\n",
				prose.Exact(scaledBy(config, it.SetUpTimeout)), prose.Exact(scaledBy(config, it.TearDownTimeout)))
		}
		printCase(e, it, config)
	}
	fmt.Fprintf(
		e.Out, "\n%s with %s; nothing was run\n", prose.Count(len(items), "flow"), prose.Count(fixtures, "fixture"),
	)
	return nil
}

func printCase(e *env.Env, it flow.Item, config *bench.Config) {
	line := fmt.Sprintf("    %s  deadline %s", it.ID.Case, prose.Exact(scaledBy(config, it.Timeout)))
	if it.After != "" {
		line += ", after " + it.After
	}
	if it.Quarantine != nil {
		line += ", in quarantine"
	}
	fmt.Fprintln(e.Out, line)
}

func scaledBy(config *bench.Config, d time.Duration) time.Duration {
	return time.Duration(float64(d) * config.TimeoutScale).Round(time.Millisecond)
}

// Names returns the ids of items.
func Names(items []flow.Item) []string {
	list := make([]string, len(items))
	for i, it := range items {
		list[i] = it.Name
	}
	return list
}
