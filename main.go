package vmtb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"vmtb/bench/host"
	"vmtb/bench/keep"
	"vmtb/bench/vm"
	"vmtb/flow"
)

// version is set by the linker (see the Makefile).
var version = "unknown"

// Main runs the command line in args, program name first, with the flows that the registrars add, and returns the
// exit code.
func Main(ctx context.Context, args []string, registrars ...func(*flow.Registry)) int {
	if code, ran := vm.Guard(args); ran {
		return code
	}
	a := &app{out: os.Stdout, err: os.Stderr, registry: flow.NewRegistry(), system: host.OS{}, state: hostState()}
	for _, register := range registrars {
		register(a.registry)
	}
	return a.main(ctx, args[1:])
}

// An app is one invocation.
type app struct {
	out, err io.Writer
	registry *flow.Registry
	system   host.System // this machine
	state    state

	labPackages   []string // for the lab's DUT, beside its own
	labGPU        string   // of the lab's DUT: a [lab.GPU]
	labProperties []string // of that GPU
	labMigration  bool     // the lab's DUT can save and migrate VFs
}

// An exitCode ends the program with a code and without a message: all has been said.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

func (a *app) main(ctx context.Context, args []string) int {
	err := a.registry.Err()
	if err == nil {
		cmd := a.command()
		cmd.SetArgs(commandFirst(cmd, args))
		err = cmd.ExecuteContext(ctx)
	}
	if err == nil {
		return flow.ExitPass
	}
	if code, ok := errors.AsType[exitCode](err); ok {
		return int(code)
	}
	fmt.Fprintf(a.err, "vmtb: %s\n", printable(err.Error()))
	switch blame := flow.BlameOf(err); {
	case errors.Is(err, keep.ErrNotRestored):
		return flow.ExitNotRestored
	case errors.Is(err, context.Canceled):
		return flow.ExitInterrupted
	case errors.Is(err, flow.ErrNoMatch):
		return flow.ExitNoMatch
	case blame == flow.BlameUsage:
		return flow.ExitUsage
	default:
		return flow.ExitError
	}
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "vmtb",
		Short: "VM test bench for SR-IOV GPUs",
		Long: `vmtb tests the virtualization (SR-IOV) of GPUs driven by Linux' xe driver: it enables and provisions Virtual
Functions, boots QEMU machines with them, runs flows over both, puts the host back and reports.

On a machine without such a GPU, "vmtb lab run" does all of it in an emulated one.

"vmtb help" also lists the topics of the book, "vmtb help getting-started" shows one.`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetVersionTemplate("vmtb {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		a.runCommand(), a.resumeCommand(), a.listCommand(), a.reportCommand(), a.mergeCommand(), a.labelsCommand(), a.fleetCommand(), a.recoverCommand(), a.doctorCommand(), a.vfCommand(), a.vmCommand(),
		a.imageCommand(), a.labCommand(), a.versionCommand(), a.manCommand(),
	)
	root.SetHelpCommand(a.helpCommand())
	root.InitDefaultHelpCmd()
	root.InitDefaultVersionFlag() // its -v takes no value
	root.InitDefaultCompletionCmd()
	markUsage(root)
	completeFlags(root)
	completeQuotes(root)
	return root
}

// printJSON prints what programs read.
func printJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// printable keeps control characters, which file names and guests' output may hold, from the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
