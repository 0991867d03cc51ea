package vmtb

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/pci"
	"vmtb/bench/xe"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
	"vmtb/internal/pick"
)

func (a *app) vfCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "vf",
		Short: "Look at a GPU's Virtual Functions, and set them up by hand",
		Long: `Looks at the Virtual Functions of a GPU that the xe driver runs, and sets them up for virtual machines of one's own.

What these commands change stays until "vmtb vf disable", which puts the host back as it was before the first of them; so does
"vmtb recover". A reboot does, too. Meanwhile "vmtb run" refuses to begin. "vmtb help vf" tells more.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.vfListCommand(), a.vfEnableCommand(), a.vfProvisionCommand(), a.vfResetCommand(), a.vfBindCommand(), a.vfDisableCommand())
	return cmd
}

// changeVFs is what a command does that changes VFs: parse its arguments, and run, which only root may, and an interrupt undoes.
func changeVFs(flags *env.ConfigFlags, parse func(c *bench.Config, args []string) error, run func(ctx context.Context) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		config, _, err := flags.Load()
		if err != nil {
			return err
		}
		if err := parse(config, args); err != nil {
			return err
		}
		if err := env.CheckRoot(cmd.CommandPath(), os.Geteuid()); err != nil {
			return err
		}
		ctx, stop := env.CancelOnInterrupt(cmd.Context())
		defer stop()
		return run(ctx)
	}
}

type vfListOptions struct {
	host   bench.HostConfig // which PF
	asJSON bool
}

func (a *app) vfListCommand() *cobra.Command {
	var flags env.ConfigFlags
	var o vfListOptions
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"show"},
		Short:   "List the PF and its VFs: what they have, who drives and who uses them, what went wrong in them",
		Long: `Lists a GPU that the xe driver runs and each of its enabled VFs: quotas, time slice (EQ: execution quantum, PT:
preemption timeout; 0 is infinite), priority, driver on this host, IOMMU group, the interface version that the VF's own
driver has agreed on with the PF's, adverse events, and the virtual machine that uses it. Only reads; "-" is what the kernel
does not tell. Quotas need debugfs, and root.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			config, _, err := flags.Load()
			if err != nil {
				return err
			}
			o.host = config.Host
			return runVFList(a.System, o, a.Out)
		},
	}
	flags.AddPF(cmd)
	addListJSON(cmd, &o.asJSON)
	return cmd
}

func addListJSON(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print an object with everything, sizes in bytes")
}

// A vfListing is a PF's summary with the users of its VFs.
type vfListing struct {
	*xe.Summary
	Functions []listedFunction `json:"functions"`
}

type listedFunction struct {
	xe.Function
	UsedBy *pick.VFUser `json:"used_by"`
}

func runVFList(sys host.System, o vfListOptions, out io.Writer) error {
	tree := host.New(sys).Tree(nil) // without a journal: nothing is changed
	pf, err := xe.FindPF(tree, pick.GPU(o.host))
	if err != nil {
		return err
	}
	summary, err := pf.Summary()
	if err != nil {
		return err
	}
	list := vfListing{Summary: summary}
	for _, f := range summary.Functions {
		listed := listedFunction{Function: f}
		if f.VF > 0 {
			listed.UsedBy = pick.UserOf(sys, pci.At(tree, f.Address))
		}
		list.Functions = append(list.Functions, listed)
	}
	if o.asJSON {
		return env.PrintJSON(out, list)
	}
	return list.print(out)
}

func (s vfListing) print(out io.Writer) error {
	fmt.Fprintf(out, "card%d %s (%s): %d of %d VFs enabled", s.Card, s.Address, s.IDs, len(s.Functions)-1, s.TotalVFs)
	if s.Limits != nil && s.Limits.Total != s.TotalVFs {
		fmt.Fprintf(out, "; the hardware has %d", s.Limits.Total)
	}
	fmt.Fprintln(out)
	if s.AdminOnly {
		fmt.Fprintf(out, "for administration only: the PF takes no work on this host (configfs: xe/%s/sriov/admin_only_pf)\n", s.Address)
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
	fmt.Fprintln(w, "\tADDRESS\tDRIVER\tIOMMU\tGGTT\tVRAM\tCONTEXTS\tDOORBELLS\tEQ ms\tPT us\tPRIORITY\tVERSION\tVM\tADVERSE EVENTS")
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

func row(f listedFunction) []string {
	name := "PF"
	if f.VF > 0 {
		name = fmt.Sprintf("VF%d", f.VF)
	}
	r := []string{name, string(f.Address), env.OrDash(f.Driver), "-", "-", "-", "-", "-", "-", "-", "-", "-", ansi.Printable(f.UsedBy.String()), "-"}
	if f.IOMMUGroup != nil {
		r[3] = strconv.Itoa(*f.IOMMUGroup)
	}
	if q := f.Quota; q != nil {
		r[4], r[5], r[6], r[7] = env.MiB(q.GGTT), env.MiB(q.VRAM), decimal(q.Contexts), decimal(q.Doorbells)
	}
	if t := f.TimeSlice; t != nil {
		r[8], r[9] = decimal(t.Quantum), decimal(t.Timeout)
	}
	if f.Priority != nil {
		r[10] = string(*f.Priority)
	}
	if f.Version != nil {
		r[11] = f.Version.String()
	}
	if f.Events != nil {
		var list []string
		named := f.Events.Named()
		for _, name := range slices.Sorted(maps.Keys(named)) {
			list = append(list, fmt.Sprintf("%s %d", name, named[name]))
		}
		r[13] = strings.Join(list, ", ")
	}
	return r
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }
