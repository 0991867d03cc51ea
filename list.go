package vmtb

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) listCommand() *cobra.Command {
	var asJSON bool
	var shard string
	cmd := &cobra.Command{
		Use:   "list [selection...]",
		Short: "List the flows, one id a line",
		Long: `Lists the flows that a selection takes, or all of them, in the order in which they run. Nothing is run for it.

` + selectionHelp,
		Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, selection []string) error { return a.list(selection, shard, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects: id, documentation, preconditions, deadlines (ns)")
	cmd.Flags().StringVar(&shard, "shard", "", "list only the i-th of n parts: i/n")
	return cmd
}

const selectionHelp = `A selection is an id (test_basic::TestVmSetup::test_vm_boot[1VF-(P:AUTO S:INFINITE)]) or a part of one: the case,
the class, the file or the parameter may be left out. The file may carry a directory and ".py". "*" is the only
wildcard. [1VF] stands for every parameter that begins with "1VF-". Quote it: brackets mean something to a shell.`

func (a *app) list(selection []string, shard string, asJSON bool) error {
	items, notes, err := a.registry.Select(selection)
	if err != nil {
		return err
	}
	items, _, err = a.plan(items, policyFlags{shard: shard})
	if err != nil {
		return err
	}
	if asJSON {
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(items)
	}
	for _, note := range notes {
		fmt.Fprintf(a.err, "vmtb: %s\n", note)
	}
	for _, item := range items {
		fmt.Fprintln(a.out, item.Name)
	}
	return nil
}
