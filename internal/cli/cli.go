package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"vmtb/bench/host"
	"vmtb/bench/keep"
	"vmtb/bench/vm/guard"
	"vmtb/flow"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
	hostcmd "vmtb/internal/cli/host"
	imagecmd "vmtb/internal/cli/image"
	labcmd "vmtb/internal/cli/lab"
	runcmd "vmtb/internal/cli/run"
	vfcmd "vmtb/internal/cli/vf"
	vmcmd "vmtb/internal/cli/vm"
	"vmtb/internal/hoststate"
	"vmtb/internal/initrd"
)

// Main runs the command line in args, program name first, with the flows that the registrars add.
// It returns the exit code. version is the program's version.
func Main(ctx context.Context, args []string, version string, registrars ...func(*flow.Registry)) int {
	if code, ran := guard.Run(args); ran {
		return code
	}
	if code, ran := initrd.Run(args); ran {
		return code
	}
	e := &env.Env{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Registry: flow.NewRegistry(), System: host.OS{},
		State: hoststate.FromEnvironment(), Version: version,
	}
	for _, register := range registrars {
		register(e.Registry)
	}
	return execute(ctx, e, args[1:])
}

// execute runs the command in args. No other function turns errors into messages and exit codes.
func execute(ctx context.Context, e *env.Env, args []string) int {
	err := e.Registry.Err()
	if err == nil {
		cmd := command(e)
		cmd.SetArgs(commandFirst(cmd, args))
		err = cmd.ExecuteContext(ctx)
	}
	if err == nil {
		return flow.ExitPass
	}
	if code, ok := errors.AsType[env.ExitCode](err); ok {
		return int(code)
	}
	fmt.Fprintf(e.Err, "vmtb: %s\n", ansi.Printable(err.Error()))
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

// command returns the root of all commands.
func command(e *env.Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "vmtb",
		Short: "VM test bench for SR-IOV GPUs",
		Long: `vmtb tests the virtualization (SR-IOV) of GPUs driven by Linux' xe driver: it enables and
provisions Virtual Functions (VFs), boots QEMU machines with them, runs flows on the host and in the guests,
restores the host and writes reports.

On a machine without such a GPU, "vmtb lab run" does all of this in an emulated machine.

"vmtb help" also lists the topics of the book; "vmtb help getting-started" shows one.`,
		Version:       e.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(e.Out)
	root.SetErr(e.Err)
	root.SetVersionTemplate("vmtb {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		runcmd.Command(e), runcmd.ResumeCommand(e), runcmd.ListCommand(e), runcmd.ReportCommand(e),
		runcmd.MergeCommand(e),
		hostcmd.LabelsCommand(e), runcmd.FleetCommand(),
		hostcmd.RecoverCommand(e), hostcmd.DoctorCommand(e), vfcmd.Command(e), vmcmd.Command(e),
		imagecmd.Command(e), labcmd.Command(e), versionCommand(e), manCommand(e),
	)
	root.SetHelpCommand(helpCommand(e))
	root.InitDefaultHelpCmd()
	root.InitDefaultVersionFlag() // its -v takes no value
	root.InitDefaultCompletionCmd()
	markUsage(root)
	completeFlags(root)
	completeQuotes(root)
	return root
}
