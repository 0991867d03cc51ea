package vmtb

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"vmtb/bench/host"
	"vmtb/bench/keep"
	"vmtb/bench/vm"
	"vmtb/flow"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
	hostcmd "vmtb/internal/cli/host"
	"vmtb/internal/cli/image"
	labcmd "vmtb/internal/cli/lab"
	"vmtb/internal/cli/run"
	"vmtb/internal/cli/vf"
	vmcmd "vmtb/internal/cli/vm"
	"vmtb/internal/hoststate"
)

// version is set by the linker (see the Makefile).
var version = "unknown"

// Main runs the command line in args, program name first, with the flows that the registrars add, and returns the
// exit code.
func Main(ctx context.Context, args []string, registrars ...func(*flow.Registry)) int {
	if code, ran := vm.Guard(args); ran {
		return code
	}
	a := &app{Env: &env.Env{
		Out: os.Stdout, Err: os.Stderr, Registry: flow.NewRegistry(), System: host.OS{},
		State: hoststate.FromEnvironment(), Version: version,
	}}
	for _, register := range registrars {
		register(a.Registry)
	}
	return a.main(ctx, args[1:])
}

// An app is one invocation.
type app struct{ *env.Env }

func (a *app) main(ctx context.Context, args []string) int {
	err := a.Registry.Err()
	if err == nil {
		cmd := a.command()
		cmd.SetArgs(commandFirst(cmd, args))
		err = cmd.ExecuteContext(ctx)
	}
	if err == nil {
		return flow.ExitPass
	}
	if code, ok := errors.AsType[env.ExitCode](err); ok {
		return int(code)
	}
	fmt.Fprintf(a.Err, "vmtb: %s\n", ansi.Printable(err.Error()))
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
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetVersionTemplate("vmtb {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		run.Command(a.Env), run.ResumeCommand(a.Env), run.ListCommand(a.Env), run.ReportCommand(a.Env), hostcmd.RecoverCommand(a.Env), hostcmd.DoctorCommand(a.Env), vf.Command(a.Env), vmcmd.Command(a.Env),
		image.Command(a.Env), labcmd.Command(a.Env), a.versionCommand(), a.manCommand(),
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
