package vmtb

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/vm"
	"vmtb/bench/xe"
	"vmtb/flow"
	"vmtb/internal/prose"
)

// A health is what a check comes to.
type health string

// The healths, from good to bad.
const (
	healthy health = "ok"
	unasked health = "skip" // it makes no sense here, or was not asked for
	ailing  health = "warn" // some flows are skipped, or slow
	sick    health = "bad"  // nothing that needs it can run
)

// A diagnosis is what a check found.
type diagnosis struct {
	Check  string `json:"check"`
	Health health `json:"health"`
	Found  string `json:"found"`
	Remedy string `json:"remedy,omitempty"`
}

// A patient is the machine under test, as far as the checks have come to know it.
type patient struct {
	*app
	host    *host.Host
	config  *bench.Config
	deep    bool // boot the guest image, too
	euid    int
	accel   func(context.Context) (vm.Accel, error)
	inspect lookAtImage
	missing func(context.Context) []error // what building images lacks here
	pf      *xe.PF                        // nil if there is none
	noGPU   bool                          // of Intel's
	noQEMU  []diagnosis                   // why QEMU cannot be used; empty if it can
}

func (a *app) newPatient(config *bench.Config, deep bool) *patient {
	return &patient{
		app: a, host: host.New(a.system), config: config, deep: deep, euid: os.Geteuid(),
		accel:   func(ctx context.Context) (vm.Accel, error) { return vm.ProbeAccel(ctx, config.VM.QEMU) },
		inspect: vm.LookAtImage, missing: missingHere,
	}
}

func (a *app) doctorCommand() *cobra.Command {
	var flags configFlags
	var asJSON, deep bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check what a run needs on this machine, and say what to do about what is missing",
		Long: `Checks this machine for all that runs need, with the configuration that "vmtb run" would use: rights, IOMMU, the PF's driver
and its VFs, VFIO, QEMU and KVM, disk, guest image, IGT, leftovers of earlier runs, kernel log; and whether "vmtb vm",
"vmtb lab" and "vmtb image build", which need no GPU, would work here. Changes nothing. The exit code is 0 unless
something is bad; a warning says what will be skipped or slow, or what would not work.`,
		Example: `  vmtb doctor --vm-image=guest_os.img
  vmtb doctor --deep --vm-image=guest_os.img   # boots the image, and looks inside`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, _, err := flags.load()
			if err != nil {
				return err
			}
			ctx, stop := untilInterrupted(cmd.Context())
			defer stop()
			return a.newPatient(config, deep).examine(ctx, asJSON)
		},
	}
	flags.add(cmd)
	hideRunFlags(cmd)
	cmd.Flags().BoolVar(&deep, "deep", false, "boot the guest image and look for the agent, the driver and IGT in it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects: check, health (ok, skip, warn, bad), found, remedy; the last counts the others")
	return cmd
}

// examine does all checks.
func (p *patient) examine(ctx context.Context, asJSON bool) error {
	return p.examineBy(ctx, append(slices.Clone(checkups), checkup{countCheck, nil}), asJSON)
}

// countCheck is the name of the last line, which counts the others.
const countCheck = "in all"

// countOf counts what the checks found: "4 bad, 2 warnings".
func countOf(all []diagnosis) diagnosis {
	n := map[health]int{}
	for _, d := range all {
		n[d.Health]++
	}
	d := fine("%d bad, %s", n[sick], prose.Count(n[ailing], "warning"))
	if n[sick] > 0 {
		d.Health = sick
	} else if n[ailing] > 0 {
		d.Health = ailing
	}
	return d
}

// examineBy does checks, and tells of each when it is done.
func (p *patient) examineBy(ctx context.Context, checks []checkup, asJSON bool) error {
	all := make([]diagnosis, 0, len(checks))
	worst := 0
	for _, c := range checks {
		var d diagnosis
		switch {
		case c.name == countCheck:
			d = countOf(all)
		case p.noGPU && gpuChecks[c.name]:
			d = skip("no Intel GPU")
		default:
			d = c.look(ctx, p)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		d.Check = c.name
		all = append(all, d)
		if d.Health == sick {
			worst++
		}
		if !asJSON {
			d.print(p.app)
		}
	}
	if asJSON {
		if err := printJSON(p.out, all); err != nil {
			return err
		}
	}
	if worst > 0 {
		return exitCode(flow.ExitError)
	}
	return nil
}

func (d diagnosis) print(a *app) {
	const indent = "                      " // below what was found
	if d.Check == countCheck {
		fmt.Fprintln(a.out, d.Found)
		return
	}
	fmt.Fprintf(a.out, "%-5s %-15s %s\n", d.Health, d.Check, strings.ReplaceAll(printable(d.Found), "\n", "\n"+indent))
	if d.Remedy != "" {
		fmt.Fprintf(a.out, "%s-> %s\n", indent, strings.ReplaceAll(printable(d.Remedy), "\n", "\n"+indent+"   "))
	}
}

// doctorTime bounds what a program is given that a check runs.
const doctorTime = 20 * time.Second

// said is the first line that a program prints; "" if it does not run.
func (p *patient) said(ctx context.Context, argv ...string) string {
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	r, err := p.host.Exec(ctx, bench.Command{Argv: argv})
	if err != nil || !r.OK() {
		return ""
	}
	line, _, _ := strings.Cut(string(r.Stdout), "\n")
	return strings.TrimSpace(line)
}

// text is what a file of the host has, without white space around it.
func (p *patient) text(path string) string {
	data, err := p.host.System.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
