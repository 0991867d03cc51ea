package flows

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/report/terminal"
)

// ReportFlags choose how much of a run the user sees.
type ReportFlags struct {
	OutputFlags
	Verbose int // -v, -vv
	Quiet   bool
	Slowest int
	pytest  pytestLook
	JSON    bool
	Color   string
	// Columns of the user's terminal if our output goes to a file that it shows; otherwise 0.
	live int

	// CalledAs is set if this run is the DUT's part of a "vmtb lab run". It is the command line of
	// that, a JSON array.
	CalledAs string
	Argv     []string // the command line that the user typed; set by Check
}

// Add adds all these flags.
func (o *ReportFlags) Add(cmd *cobra.Command) {
	o.AddShared(cmd)
	cmd.Flags().IntVar(&o.live, "live", 0, "draw as on a terminal with this number of columns")
	cmd.Flags().StringVar(&o.CalledAs, "called-as", "", "command line of the command that runs this one, a JSON array")
	for _, name := range []string{"live", "called-as"} {
		cmd.Flags().Lookup(name).Hidden = true
	}
}

// ReadArgv sets Argv.
func (o *ReportFlags) ReadArgv() error {
	if o.CalledAs == "" {
		o.Argv = os.Args
		return nil
	}
	o.Argv = nil // json must not write into the array of os.Args
	if err := json.Unmarshal([]byte(o.CalledAs), &o.Argv); err != nil {
		return &bench.UsageError{Err: fmt.Errorf("--called-as: %w", err)}
	}
	return nil
}

// AddShared adds the flags that "vmtb lab run" also has.
func (o *ReportFlags) AddShared(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(
		&o.JSON, "json", false, "print run.json and then the journal, one JSON object per line, instead of a report",
	)
	o.AddLook(cmd)
	o.OutputFlags.Add(cmd)
}

// AddLook adds the flags for the report on the terminal.
func (o *ReportFlags) AddLook(cmd *cobra.Command) {
	cmd.Flags().CountVarP(&o.Verbose, "verbose", "v", "print the steps of fixtures; -vv: also the logs of flows")
	cmd.Flags().BoolVarP(&o.Quiet, "quiet", "q", false, "print only flows that did not pass, and the totals")
	cmd.Flags().IntVar(&o.Slowest, "durations", -1, "list the `N` slowest cases and phases; 0 is all")
	o.pytest.add(cmd)
	cmd.Flags().StringVar(&o.Color, "color", "auto", "colours: auto (on a terminal), always, never")
}

// Check returns an error for invalid values, and sets the fields that are not flags.
func (o *ReportFlags) Check() error {
	if err := errors.Join(o.pytest.check(), o.ReadArgv()); err != nil {
		return err
	}
	switch o.Color {
	case "auto", "always", "never":
		return o.OutputFlags.Check()
	}
	return &bench.UsageError{Err: fmt.Errorf("--color=%s: want auto, always or never", o.Color)}
}

// Look returns the layout of the report on the terminal f. f may be nil.
func (o *ReportFlags) Look(f *os.File) terminal.Options {
	var look terminal.Options
	if f != nil {
		look = look.For(f)
	}
	if o.live > 0 {
		look.Live, look.Width = true, func() int { return o.live }
	}
	if o.toLAVA() { // LAVA's log shows each redrawn line, and its signals must begin a line
		look.Live, look.Color = false, false
	}
	if o.Color != "auto" {
		look.Color = o.Color == "always"
	}
	look.Verbose, look.LogFrom = max(o.Verbose, o.pytest.verbose()), o.pytest.level()
	if o.Quiet {
		look.Verbose = -1
	}
	switch {
	case o.Slowest == 0:
		look.Slowest = -1
	case o.Slowest > 0:
		look.Slowest = o.Slowest
	}
	return look
}
