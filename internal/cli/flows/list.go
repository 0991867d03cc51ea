package flows

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"vmtb/flow"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/output"
	"vmtb/internal/prose"
)

// ListOptions say which flows to list, and how.
type ListOptions struct {
	SelectionFlags
	JSON     bool
	Upstream bool // only flows that the Python tool has, too
	Classes  bool
}

// Run prints the flows that a selection takes.
func (o *ListOptions) Run(e *env.Env, selection []string) error {
	items, notes, err := o.Choose(e, selection)
	if err != nil {
		return err
	}
	if o.Upstream {
		items = slices.DeleteFunc(items, func(it flow.Item) bool { return it.Own })
	}
	if o.JSON {
		return output.Print(e.Out, items)
	}
	for _, note := range notes {
		fmt.Fprintf(e.Err, "vmtb: %s\n", note)
	}
	if o.Classes {
		return listClasses(e, items)
	}
	for _, item := range items {
		name := item.Name
		if item.Own {
			name += "  # own"
		}
		fmt.Fprintln(e.Out, name)
	}
	return nil
}

// listClasses prints a line for each class: its name, its number of flows, its documentation.
func listClasses(e *env.Env, items []flow.Item) error {
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
	w := tabwriter.NewWriter(e.Out, 0, 0, 2, ' ', 0)
	for _, c := range list {
		doc, _, _ := strings.Cut(c.doc, "\n")
		fmt.Fprintf(w, "%s\t%s\t%s\n", c.name, prose.Count(c.flows, "flow"), doc)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(
		e.Out, "%s in %s of %s\n", prose.Count(len(items), "flow"), prose.Count(len(list), "class"),
		prose.Count(len(files), "file"),
	)
	return nil
}
