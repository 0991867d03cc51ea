package vmtb

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"vmtb/flow"
	"vmtb/internal/cli/env"
	"vmtb/internal/prose"
)

func (a *app) listCommand() *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:   "list [selection...]",
		Short: "List the flows, one id a line, or the classes",
		Long: `Lists the flows that a selection takes, or all of them, in the order in which they run. Nothing is run for it. Flows that the
Python tool does not have are marked "# own".

` + selectionHelp,
		Args: cobra.ArbitraryArgs, ValidArgsFunction: a.completeSelection,
		RunE: func(_ *cobra.Command, selection []string) error { return a.list(selection, o) },
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "print an array of objects: id, documentation, preconditions, deadlines (ns)")
	o.add(cmd)
	cmd.Flags().BoolVar(&o.classes, "classes", false, "list the classes instead, with the number of their flows")
	cmd.Flags().BoolVar(&o.upstream, "upstream", false, "list only flows that the Python tool has, too")
	return cmd
}

type listOptions struct {
	selectionFlags
	json, upstream, classes bool
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
		return env.PrintJSON(a.Out, items)
	}
	for _, note := range notes {
		fmt.Fprintf(a.Err, "vmtb: %s\n", note)
	}
	if o.classes {
		return a.listClasses(items)
	}
	for _, item := range items {
		fmt.Fprintln(a.Out, item.Name+map[bool]string{true: "  # own"}[item.Own])
	}
	return nil
}

// listClasses prints a line for each class: its name, how many flows it has, and what it is about.
func (a *app) listClasses(items []flow.Item) error {
	type class struct {
		name, doc string
		flows     int
	}
	var list []*class
	byName := map[string]*class{}
	files := map[string]bool{}
	for _, it := range items {
		name := flow.ID{File: it.ID.File, Class: it.ID.Class}.String()
		files[it.ID.File] = true
		c := byName[name]
		if c == nil {
			c = &class{name: name, doc: it.ClassDoc}
			byName[name] = c
			list = append(list, c)
		}
		c.flows++
	}
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	for _, c := range list {
		doc, _, _ := strings.Cut(c.doc, "\n")
		fmt.Fprintf(w, "%s\t%s\t%s\n", c.name, prose.Count(c.flows, "flow"), doc)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(a.Out, "%s in %s of %s\n", prose.Count(len(items), "flow"), prose.Count(len(list), "class"), prose.Count(len(files), "file"))
	return nil
}
