package doctor

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/vm"
	"vmtb/bench/xe"
	"vmtb/internal/ansi"
	"vmtb/internal/hoststate"
	"vmtb/internal/pick"
	"vmtb/internal/prose"
)

// A Status is the outcome of a check.
type Status string

// These are the statuses, from good to bad.
const (
	OK      Status = "ok"
	Skipped Status = "skip" // the check does not apply here, or was not requested
	Warn    Status = "warn" // some flows are skipped, or slow
	Bad     Status = "bad"  // features that need it do not work
)

// A Result is the result of a check.
type Result struct {
	Check  string `json:"check"`
	Status Status `json:"health"`
	Found  string `json:"found"`
	Remedy string `json:"remedy,omitempty"`
}

// Options says what to check.
type Options struct {
	Config   *bench.Config
	State    hoststate.State
	Deep     bool      // boot the guest image, too
	Warnings io.Writer // gets a line for each dead run whose directory is gone

	// Booting calls wait, which may take up to limit. Meanwhile it shows the current step and the
	// end of the console.
	Booting func(what, console string, limit time.Duration, wait func() error) error
}

// A Target is the machine under test, with the findings of earlier checks, which later checks use.
type Target struct {
	Options
	host    *host.Host
	euid    int
	accel   func(context.Context) (vm.Accel, error)
	inspect pick.InspectImage
	missing func(context.Context) []error // returns what this machine lacks for building images

	pf     *xe.PF   // nil without one
	noGPU  bool     // there is no Intel GPU
	noQEMU []Result // why QEMU cannot be used; empty if it can
}

// New returns the Target for this machine.
func New(sys host.System, o Options) *Target {
	return &Target{
		Options: o, host: host.New(sys), euid: os.Geteuid(),
		accel:   func(ctx context.Context) (vm.Accel, error) { return vm.ProbeAccel(ctx, o.Config.VM.QEMU) },
		inspect: vm.LookAtImage, missing: missingForImages,
	}
}

// A check examines one thing. Later checks may use the findings of earlier ones.
type check struct {
	name string
	run  func(ctx context.Context, t *Target) Result
}

// CheckHost runs all checks of the machine, and returns their results. It calls each with every
// result as soon as it is known. The last result counts the others.
func (t *Target) CheckHost(ctx context.Context, each func(Result)) ([]Result, error) {
	return t.run(ctx, append(slices.Clone(hostChecks), check{countCheck, nil}), each)
}

// countCheck is the name of the last result, which counts the others.
const countCheck = "in all"

// count counts the results: "4 bad, 2 warnings".
func count(all []Result) Result {
	n := map[Status]int{}
	for _, r := range all {
		n[r.Status]++
	}
	r := good("%d bad, %s", n[Bad], prose.Count(n[Warn], "warning"))
	if n[Bad] > 0 {
		r.Status = Bad
	} else if n[Warn] > 0 {
		r.Status = Warn
	}
	return r
}

func (t *Target) run(ctx context.Context, checks []check, each func(Result)) ([]Result, error) {
	all := make([]Result, 0, len(checks))
	for _, c := range checks {
		var r Result
		switch {
		case c.name == countCheck:
			r = count(all)
		case t.noGPU && gpuChecks[c.name]:
			r = skip("no Intel GPU")
		default:
			r = c.run(ctx, t)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		r.Check = c.name
		all = append(all, r)
		each(r)
	}
	return all, nil
}

// AnyBad reports whether one of the results is [Bad].
func AnyBad(results []Result) bool {
	return slices.ContainsFunc(results, func(r Result) bool { return r.Status == Bad })
}

// Print writes the result for people.
func (r Result) Print(w io.Writer) {
	const indent = "                      " // the column of the finding
	if r.Check == countCheck {
		fmt.Fprintln(w, r.Found)
		return
	}
	found := strings.ReplaceAll(ansi.Printable(r.Found), "\n", "\n"+indent)
	fmt.Fprintf(w, "%-5s %-15s %s\n", r.Status, r.Check, found)
	if r.Remedy != "" {
		remedy := strings.ReplaceAll(ansi.Printable(r.Remedy), "\n", "\n"+indent+"   ")
		fmt.Fprintf(w, "%s-> %s\n", indent, remedy)
	}
}

// programTime limits how long a check may run a program.
const programTime = 20 * time.Second

// firstLine returns the first line that a program prints on this machine, or "" if it fails.
func (t *Target) firstLine(ctx context.Context, argv ...string) string {
	ctx, cancel := context.WithTimeout(ctx, programTime)
	defer cancel()
	return firstLine(ctx, t.host, argv...)
}

// text returns the trimmed content of a file of this machine, or "" if it cannot be read.
func (t *Target) text(path string) string {
	data, err := t.host.System.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
