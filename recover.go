package vmtb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/undo"
	"vmtb/bench/work"
	"vmtb/flow"
)

func (a *app) recoverCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "recover DIR",
		Short: "Put the host back after a run that died",
		Long: `Undoes what the run in the run directory DIR has changed on this host and not put back: it kills machines that
are left, gives VFs back, removes them and resets their provisioning. It does so from the journal DIR/undo.jsonl,
newest change first, and looks at the host before each: what is as it was, or has become somebody else's, is left
alone. While that run is alive it refuses. Doing it twice does no harm.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
			defer stop()
			context.AfterFunc(ctx, stop) // the second one ends us
			signal.Ignore(unix.SIGPIPE)  // a reader that goes away must not keep the host from being put back
			return a.recover(ctx, args[0])
		},
	}
}

func (a *app) recover(ctx context.Context, dir string) error {
	path := filepath.Join(dir, flow.UndoFile)
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			return &bench.UsageError{Err: fmt.Errorf("%s: no run directory with a journal of host changes (%s)", dir, flow.UndoFile)}
		}
		return &bench.InfraError{Op: "open the journal", Err: err}
	}
	log, err := undo.Open(path, undo.KindOf[work.Leftover]())
	if errors.Is(err, undo.ErrInUse) {
		return &bench.UsageError{Err: fmt.Errorf("%s: that run is alive", dir), Advice: "interrupt it instead"}
	}
	if err != nil {
		return &bench.InfraError{Op: "open the journal", Err: err}
	}
	defer log.Close()
	pending := log.Pending()
	if len(pending) == 0 {
		fmt.Fprintln(a.out, "Nothing to put back.")
		return nil
	}
	if err := sameBoot(dir); err != nil {
		return err
	}
	for i := len(pending) - 1; i >= 0; i-- {
		fmt.Fprintf(a.out, "undoing %s\n", printable(pending[i].Record.String()))
	}
	err = log.Undo(ctx, host.OS{})
	if left := log.Pending(); len(left) > 0 {
		fmt.Fprintf(a.err, "vmtb: not put back: %s\n", printable(err.Error()))
		return exitCode(flow.ExitNotRestored)
	}
	if err != nil { // somebody else's by now
		fmt.Fprintf(a.err, "vmtb: %s\n", printable(err.Error()))
	}
	fmt.Fprintln(a.out, "The host is as it was.")
	return nil
}

// sameBoot refuses to undo on this machine what was done on another one, in the lab's say, or before a reboot, which has
// put all but files back. What the journal names would be others' by now. A directory without run.json is not refused.
func sameBoot(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, "run.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var info flow.Info
	if err == nil {
		err = json.Unmarshal(data, &info)
	}
	if err != nil {
		return &bench.InfraError{Op: "read what is known of the run", Err: err}
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return &bench.InfraError{Op: "identify this boot", Err: err}
	}
	if info.BootID == strings.TrimSpace(string(boot)) {
		return nil
	}
	return &bench.UsageError{
		Err:    fmt.Errorf("%s: that run was on another machine (%s), or before this one was booted", dir, info.DUT),
		Advice: "a reboot has put back all but files, which undo.jsonl names",
	}
}
