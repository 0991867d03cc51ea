package vf

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/pci"
	"vmtb/bench/xe"
	"vmtb/bench/xe/vgpu"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/output"
	"vmtb/internal/pick"
)

type listOptions struct {
	host   bench.HostConfig // which PF
	asJSON bool
}

func listCommand(e *env.Env) *cobra.Command {
	var flags env.ConfigFlags
	var o listOptions
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"show"},
		Short:   "List the PF and its VFs: their resources, drivers, users and adverse events",
		Long: `Lists a GPU that the xe driver runs and each of its enabled VFs: quotas, time slice (EQ:
execution quantum, PT: preemption timeout; 0 is infinite), priority, driver on this host, IOMMU group, the
interface version that the VF's own driver has agreed on with the PF's, adverse events, and the virtual machine
that uses it. Changes nothing. "-" is a value that the kernel does not report. Quotas need debugfs, and root.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			config, _, err := flags.Load()
			if err != nil {
				return err
			}
			o.host = config.Host
			return o.run(e)
		},
	}
	flags.AddPF(cmd)
	addListJSON(cmd, &o.asJSON)
	return cmd
}

func addListJSON(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print an object with all values, sizes in bytes")
}

func (o *listOptions) run(e *env.Env) error {
	tree := host.New(e.System).Tree(nil) // without a journal: nothing is changed
	pf, err := xe.FindPF(tree, pick.GPU(o.host))
	if err != nil {
		return err
	}
	summary, err := pf.Summary()
	if err != nil {
		return err
	}
	list := output.GPU{Summary: summary}
	for _, f := range summary.Functions {
		listed := output.Function{Function: f}
		if f.VF > 0 {
			listed.UsedBy = pick.UserOf(e.System, pci.At(tree, f.Address))
		}
		list.Functions = append(list.Functions, listed)
	}
	if o.asJSON {
		return output.Print(e.Out, list)
	}
	return printGPU(e.Out, list)
}

func printGPU(out io.Writer, s output.GPU) error {
	fmt.Fprintf(out, "card%d %s (%s): %d of %d VFs enabled", s.Card, s.Address, s.IDs, len(s.Functions)-1, s.TotalVFs)
	if s.Limits != nil && s.Limits.Total != s.TotalVFs {
		fmt.Fprintf(out, "; the hardware has %d", s.Limits.Total)
	}
	fmt.Fprintln(out)
	if s.AdminOnly {
		fmt.Fprintf(
			out, "for administration only: the PF takes no work on this host (configfs: xe/%s/sriov/admin_only_pf)\n",
			s.Address,
		)
	}
	for tile, a := range s.GGTT {
		fmt.Fprintf(out, "tile%d: %s of GGTT left for VFs", tile, env.MiB(a.Avail))
		if n := len(a.Holes); n > 1 {
			fmt.Fprintf(out, ", in %d pieces", n)
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	titles := make([]string, len(columns))
	for i, c := range columns {
		titles[i] = c.title
	}
	fmt.Fprintln(w, strings.Join(titles, "\t"))
	for _, f := range s.Functions {
		fmt.Fprintln(w, strings.Join(row(f), "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, p := range s.Problems {
		fmt.Fprintf(out, "\nnot known: %s\n", ansi.Printable(p))
	}
	return nil
}

// columns are the columns of the table.
var columns = []struct {
	title string
	value func(f output.Function) string // "-" if unknown
}{
	{"", func(f output.Function) string {
		if f.VF == 0 {
			return "PF"
		}
		return fmt.Sprintf("VF%d", f.VF)
	}},
	{"ADDRESS", func(f output.Function) string { return string(f.Address) }},
	{"DRIVER", func(f output.Function) string { return env.OrDash(f.Driver) }},
	{"IOMMU", func(f output.Function) string { return of(f.IOMMUGroup, strconv.Itoa) }},
	{"GGTT", func(f output.Function) string {
		return of(f.Quota, func(q vgpu.Resources) string { return env.MiB(q.GGTT) })
	}},
	{"VRAM", func(f output.Function) string {
		return of(f.Quota, func(q vgpu.Resources) string { return env.MiB(q.VRAM) })
	}},
	{"CONTEXTS", func(f output.Function) string {
		return of(f.Quota, func(q vgpu.Resources) string { return decimal(q.Contexts) })
	}},
	{"DOORBELLS", func(f output.Function) string {
		return of(f.Quota, func(q vgpu.Resources) string { return decimal(q.Doorbells) })
	}},
	{"EQ ms", func(f output.Function) string {
		return of(f.TimeSlice, func(s vgpu.TimeSlice) string { return decimal(s.Quantum) })
	}},
	{"PT us", func(f output.Function) string {
		return of(f.TimeSlice, func(s vgpu.TimeSlice) string { return decimal(s.Timeout) })
	}},
	{
		"PRIORITY",
		func(f output.Function) string { return of(f.Priority, func(p xe.Priority) string { return string(p) }) },
	},
	{"VERSION", func(f output.Function) string { return of(f.Version, xe.Version.String) }},
	{"VM", func(f output.Function) string { return ansi.Printable(f.UsedBy.String()) }},
	{"ADVERSE EVENTS", func(f output.Function) string { return of(f.Events, adverseEvents) }},
}

// of returns the text of a value, or "-" if it is unknown.
func of[T any](value *T, text func(T) string) string {
	if value == nil {
		return "-"
	}
	return text(*value)
}

func adverseEvents(events vgpu.Thresholds) string {
	var list []string
	named := events.Named()
	for _, name := range slices.Sorted(maps.Keys(named)) {
		list = append(list, fmt.Sprintf("%s %d", name, named[name]))
	}
	return strings.Join(list, ", ")
}

func row(f output.Function) []string {
	r := make([]string, len(columns))
	for i, c := range columns {
		r[i] = c.value(f)
	}
	return r
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }
