package run

import (
	"github.com/spf13/cobra"

	"vmtb/internal/cli/env"
	"vmtb/internal/cli/flows"
)

// ListCommand returns "vmtb list".
func ListCommand(e *env.Env) *cobra.Command {
	var o flows.ListOptions
	cmd := &cobra.Command{
		Use:   "list [selection...]",
		Short: "List the flows, one id per line, or the classes",
		Long: `Lists the selected flows, or all flows, in the order in which they run. It runs no
flow. Flows that the Python tool does not have are marked "# own".

` + flows.SelectionHelp,
		Args: cobra.ArbitraryArgs, ValidArgsFunction: flows.CompleteSelection(e),
		RunE: func(_ *cobra.Command, selection []string) error { return o.Run(e, selection) },
	}
	cmd.Flags().BoolVar(
		&o.JSON, "json", false, "print an array of objects: id, documentation, preconditions, deadlines (ns)",
	)
	o.Add(cmd)
	cmd.Flags().BoolVar(&o.Classes, "classes", false, "list the classes instead, with the number of their flows")
	cmd.Flags().BoolVar(&o.Upstream, "upstream", false, "list only flows that the Python tool has, too")
	return cmd
}
