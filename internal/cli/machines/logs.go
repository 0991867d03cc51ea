package machines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/bench/keep"
	"vmtb/flow"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
)

// logFiles maps the names that "vmtb vm logs" takes to the files of a machine.
var logFiles = map[string]string{
	"console": "console.log", "qemu": "stderr.log", "keeper": keep.LogFile,
	"qmp": "qmp.jsonl", "agent": "qga.jsonl", "argv": "argv",
}

// logNames are the keys of logFiles in the order of the help.
var logNames = []string{"console", "qemu", "keeper", "qmp", "agent", "argv"}

// logsOptions are the flags of "vmtb vm logs".
type logsOptions struct {
	follow bool
	lines  int
}

// LogsCommand returns the command that prints the logs of a store's machines.
func LogsCommand(e *env.Env, store keep.Store) *cobra.Command {
	var o logsOptions
	cmd := &cobra.Command{
		Use:   "logs machine [log]",
		Short: "Print a log of a machine, such as its console or QEMU's messages; -f follows",
		Long: `Prints a log of a machine that is up or has ended:
  console  output of the guest on its serial console; the default
  qemu     standard error of QEMU
  keeper   messages of the keeper, the process that holds the machine
  qmp      messages to and from QEMU's monitor
  agent    messages to and from the guest's agent
  argv     QEMU's command line
With -f it also prints new output until the machine has ended. After "vmtb vm migrate" the logs are those of the
new QEMU; the older logs are in the machine's folder.`,
		Example: `  vmtb vm logs vm0
  vmtb vm logs -f -n 20 vm0
  vmtb vm logs vm0 qemu`,
		Args: cobra.RangeArgs(1, 2), ValidArgsFunction: completeLogs(store),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := env.CancelOnInterrupt(cmd.Context())
			defer stop()
			return o.run(ctx, e, store, args[0], append(args, logNames[0])[1])
		},
	}
	cmd.Flags().BoolVarP(&o.follow, "follow", "f", false, "print new output until the machine has ended")
	cmd.Flags().IntVarP(&o.lines, "lines", "n", -1, "start with the last N lines (default: all)")
	return cmd
}

// completeLogs offers the names of all machines for the first argument, and the names of logs for
// the second.
func completeLogs(store keep.Store) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 1 {
			return logNames, cobra.ShellCompDirectiveNoFileComp
		}
		records, err := store.List()
		if err != nil || len(args) > 1 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, r := range records {
			names = append(names, r.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func (o *logsOptions) run(ctx context.Context, e *env.Env, store keep.Store, name, log string) error {
	file, ok := logFiles[log]
	if !ok {
		return &bench.UsageError{
			Err: fmt.Errorf("there is no log %q", log), Advice: fmt.Sprintf("there are: %v", logNames),
		}
	}
	r, err := store.Get(name)
	if err != nil {
		return err
	}
	l := machineLog{store: store, record: r, name: file, out: e.Out}
	if env.IsTerminal(e.Out) {
		l.out = terminalText{e.Out}
	}
	defer l.close()
	if err := l.open(o.lines); err != nil {
		return err
	}
	err = l.copy()
	if err == nil && o.follow {
		err = l.follow(ctx)
	}
	switch {
	case errors.Is(err, unix.EPIPE): // the reader has closed the pipe
		return nil
	case errors.Is(err, context.Canceled):
		return env.ExitCode(flow.ExitInterrupted)
	}
	return err
}

// terminalText replaces control characters in a guest's output, for a terminal. It drops carriage
// returns, which end lines of a console.
type terminalText struct{ w io.Writer }

func (t terminalText) Write(p []byte) (int, error) {
	_, err := io.WriteString(t.w, ansi.Printable(string(bytes.ReplaceAll(p, []byte("\r"), nil))))
	return len(p), err
}

// A machineLog prints a log of a machine.
type machineLog struct {
	store  keep.Store
	record keep.Record
	name   string
	out    io.Writer
	file   *os.File
	path   string
}

// where returns the current path of the log. A migration changes it, except for the keeper's own
// log.
func (l *machineLog) where() string {
	if l.name == keep.LogFile {
		return filepath.Join(l.record.Dir, l.name)
	}
	return filepath.Join(l.record.LogDir(), l.name)
}

// open opens the log at its last lines. If lines is negative, it opens the log at the beginning.
func (l *machineLog) open(lines int) error {
	f, err := os.Open(l.where())
	if err != nil {
		return &bench.UsageError{
			Err: fmt.Errorf("machine %s: %w", l.record.Name, err), Advice: "its logs are in " + l.record.LogDir(),
		}
	}
	l.close()
	l.file, l.path = f, f.Name()
	if lines < 0 {
		return nil
	}
	at, err := lastLines(f, lines)
	if err == nil {
		_, err = f.Seek(at, io.SeekStart)
	}
	return err
}

func (l *machineLog) close() {
	if l.file != nil {
		l.file.Close()
	}
}

func (l *machineLog) copy() error {
	_, err := io.Copy(l.out, l.file)
	return err
}

// These are the intervals at which follow reads the log, and checks whether the machine is alive.
const (
	logPoll  = 200 * time.Millisecond
	lifePoll = 5 // times logPoll
)

// follow prints new lines until the machine has ended.
func (l *machineLog) follow(ctx context.Context) error {
	tick := time.NewTicker(logPoll)
	defer tick.Stop()
	for n := 0; ; n++ {
		ended := false
		if n%lifePoll == 0 {
			r, err := l.store.Get(l.record.Name)
			if err != nil {
				return err
			}
			l.record, ended = r, r.Life() != keep.Living
		}
		if err := l.copy(); err != nil || ended {
			return err
		}
		if l.where() != l.path {
			if err := l.open(-1); err != nil {
				return err
			}
			continue
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Canceled
		}
	}
}

// lastLines returns the offset at which the last n lines of a file begin.
func lastLines(f io.ReaderAt, n int) (int64, error) {
	size, err := io.Copy(io.Discard, io.NewSectionReader(f, 0, 1<<62))
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return size, nil
	}
	buf := make([]byte, 64<<10)
	found := 0
	for end := size; end > 0; {
		begin := max(0, end-int64(len(buf)))
		part := buf[:end-begin]
		if _, err := f.ReadAt(part, begin); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		for i := len(part) - 1; i >= 0; i-- {
			// The newline at the end of the file begins no line.
			if part[i] == '\n' && begin+int64(i) != size-1 {
				if found++; found == n {
					return begin + int64(i) + 1, nil
				}
			}
		}
		end = begin
	}
	return 0, nil
}
