package machines

import (
	"github.com/spf13/cobra"

	"vmtb/bench/keep"
	"vmtb/internal/hoststate"
)

// Complete offers the names of living machines for a first argument.
func Complete(store keep.Store) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		living, err := hoststate.Living(store)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []string
		for _, r := range living {
			names = append(names, r.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
