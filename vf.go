package vmtb

import (
	"encoding/json"
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
)

func (a *app) vfCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "vf",
		Short: "Look at a GPU's Virtual Functions",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.vfShowCommand())
	return cmd
}

type vfShowOptions struct {
	card   string
	asJSON bool
}

func (a *app) vfShowCommand() *cobra.Command {
	var o vfShowOptions
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the PF and its VFs: what they have, who drives them, what went wrong in them",
		Long: `Shows a GPU that the xe driver runs and each of its enabled VFs: quotas, time slice (EQ: execution quantum, PT:
preemption timeout; 0 is infinite), priority, driver on this host, IOMMU group, the interface version that the VF's own
driver has agreed on with the PF's, and adverse events. Only reads; "-" is what the kernel does not tell. Quotas need
debugfs, and root.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return runVFShow(host.OS{}, o, a.out) },
	}
	cmd.Flags().StringVar(&o.card, "card", "", "the PF: DRM card number or PCI address (default: the only one)")
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "print an object with everything, sizes in bytes")
	return cmd
}

func runVFShow(sys host.System, o vfShowOptions, out io.Writer) error {
	want, err := selector(o.card)
	if err != nil {
		return err
	}
	pf, err := xe.FindPF(host.New(sys).Tree(nil), want) // without a journal: nothing is changed
	if err != nil {
		return err
	}
	s, err := pf.Summary()
	if err != nil {
		return err
	}
	if o.asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	}
	return printSummary(out, s)
}

func selector(card string) (xe.Selector, error) {
	var c bench.HostConfig
	if card == "" {
		return xe.Selector{}, nil
	}
	err := setCard(&c, card)
	return xe.Selector{Card: c.CardIndex, Address: pci.Address(c.PCIAddress)}, err
}

func printSummary(out io.Writer, s *xe.Summary) error {
	fmt.Fprintf(out, "card%d %s (%s): %d of %d VFs enabled", s.Card, s.Address, s.IDs, len(s.Functions)-1, s.TotalVFs)
	if s.Limits != nil && s.Limits.Total != s.TotalVFs {
		fmt.Fprintf(out, "; the hardware has %d", s.Limits.Total)
	}
	fmt.Fprintln(out)
	for tile, a := range s.GGTT {
		fmt.Fprintf(out, "tile%d: %s of GGTT left for VFs", tile, mib(a.Avail))
		if n := len(a.Holes); n > 1 {
			fmt.Fprintf(out, ", in %d pieces", n)
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tADDRESS\tDRIVER\tIOMMU\tGGTT\tVRAM\tCONTEXTS\tDOORBELLS\tEQ ms\tPT us\tPRIORITY\tVERSION\tADVERSE EVENTS")
	for _, f := range s.Functions {
		fmt.Fprintln(w, strings.Join(row(f), "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, p := range s.Problems {
		fmt.Fprintf(out, "\nnot known: %s\n", printable(p))
	}
	return nil
}

func row(f xe.Function) []string {
	name := "PF"
	if f.VF > 0 {
		name = fmt.Sprintf("VF%d", f.VF)
	}
	r := []string{name, string(f.Address), orDash(f.Driver), "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"}
	if f.IOMMUGroup != nil {
		r[3] = strconv.Itoa(*f.IOMMUGroup)
	}
	if q := f.Quota; q != nil {
		r[4], r[5], r[6], r[7] = mib(q.GGTT), mib(q.VRAM), decimal(q.Contexts), decimal(q.Doorbells)
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
		r[12] = strings.Join(list, ", ")
	}
	return r
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// mib is a number of bytes in MiB, with what is left over.
func mib(n uint64) string {
	if n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
