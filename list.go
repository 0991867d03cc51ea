package vmtb

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"vmtb/flow"
)

func (a *app) listCommand() *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:   "list [selection...]",
		Short: "List the flows, one id a line",
		Long: `Lists the flows that a selection takes, or all of them, in the order in which they run. Nothing is run for it. Flows that the
Python tool does not have are marked "# own".

` + selectionHelp,
		Args: cobra.ArbitraryArgs, ValidArgsFunction: a.completeSelection,
		RunE: func(_ *cobra.Command, selection []string) error { return a.list(selection, o) },
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "print an array of objects: id, documentation, preconditions, deadlines (ns)")
	o.add(cmd)
	cmd.Flags().BoolVar(&o.upstream, "upstream", false, "list only flows that the Python tool has, too")
	return cmd
}

type listOptions struct {
	selectionFlags
	json, upstream bool
}

func (a *app) list(selection []string, o listOptions) error {
	items, notes, err := a.choose(selection, o.selectionFlags)
	if err != nil {
		return err
	}
	if o.upstream {
		items = slices.DeleteFunc(items, func(it flow.Item) bool { return it.Own })
	}
	if o.json {
		return printJSON(a.out, items)
	}
	for _, note := range notes {
		fmt.Fprintf(a.err, "vmtb: %s\n", note)
	}
	for _, item := range items {
		fmt.Fprintln(a.out, item.Name+map[bool]string{true: "  # own"}[item.Own])
	}
	return nil
}
