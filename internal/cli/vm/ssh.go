package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/keep"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/machines"
)

// sshOptions are the flags of "vmtb vm ssh".
type sshOptions struct {
	user    string
	options []string
}

func sshCommand(e *env.Env) *cobra.Command {
	var o sshOptions
	cmd := &cobra.Command{
		Use: "ssh machine [command...]", Short: "Log in to a guest by SSH, or run a command in it",
		Long: `Runs ssh(1) with the port of this host that leads to the guest's port 22:
"vmtb vm start --ssh-port=0" takes a free one. The guest must have an SSH server that accepts you. Its host key
is neither checked nor stored: different machines use the same port. The exit code is that of ssh.`,
		Example: `  vmtb vm ssh vm0
  vmtb vm ssh --user=me -o IdentityFile=key vm0 uname -a`,
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: machines.Complete(e.State.Machines),
		RunE: onMachine(e, o.run),
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // flags after the machine belong to the command
	flags.StringVarP(&o.user, "user", "l", "root", "user to log in as")
	flags.StringArrayVarP(&o.options, "option", "o", nil, "KEY=VALUE for ssh -o; may be given more than once")
	return cmd
}

func (o *sshOptions) run(ctx context.Context, c *keep.Client, command []string) error {
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	if info.State.SSHPort == 0 {
		return &bench.UsageError{
			Err:    fmt.Errorf("no port of this host leads to the SSH server of machine %s", info.Name),
			Advice: "vmtb vm start --ssh-port=0 starts a machine with one; vmtb vm shell needs none",
		}
	}
	program, err := exec.LookPath("ssh")
	if err != nil {
		return &bench.InfraError{Op: "run ssh", Err: err, Advice: "install openssh-client"}
	}
	// ssh replaces this process, so it has our terminal and gets our signals.
	if err := syscall.Exec(program, o.argv(info.State.SSHPort, command), os.Environ()); err != nil {
		return &bench.InfraError{Op: "run ssh", Err: err}
	}
	return errors.New("unreachable: ssh has taken our place")
}

func (o *sshOptions) argv(port int, command []string) []string {
	argv := []string{"ssh", "-p", strconv.Itoa(port)}
	for _, option := range o.options { // ssh uses the first value of a repeated option
		argv = append(argv, "-o", option)
	}
	argv = append(argv, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")
	argv = append(argv, "-l", o.user, "127.0.0.1")
	if len(command) > 0 && command[0] == "--" {
		command = command[1:]
	}
	return append(argv, command...)
}
