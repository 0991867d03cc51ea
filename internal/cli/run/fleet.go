package run

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/spf13/cobra"

	"vmtb/bench"
)

// fleetProgram is a separate program, so that the program on the machine under test stays small.
const fleetProgram = "vmtb-fleet"

// FleetCommand returns "vmtb fleet".
func FleetCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "fleet [command...]",
		Short: "Run flows on many machines: runs the program vmtb-fleet",
		Long: `Runs vmtb-fleet with the same arguments, if it is on the PATH. It queues flows for many machines
under test, whose agents run vmtb, and collects the results. "vmtb help fleet" has more.`,
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := exec.LookPath(fleetProgram)
			if errors.Is(err, exec.ErrNotFound) {
				return &bench.UsageError{
					Err: errors.New("vmtb-fleet is not on the PATH"), Advice: "make fleet builds vmtb-fleet",
				}
			}
			if err == nil {
				err = syscall.Exec(path, append([]string{fleetProgram}, args...), os.Environ())
			}
			return &bench.InfraError{Op: "run " + fleetProgram, Err: fmt.Errorf("%s: %w", path, err)}
		},
	}
}
