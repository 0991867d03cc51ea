package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/internal/cli/env"
	"vmtb/internal/labels"
)

// labelsFile is the file with the operator's labels of this machine.
const labelsFile = "/etc/vmtb/labels"

// labelsOptions are the flags of "vmtb labels".
type labelsOptions struct {
	env.ConfigFlags
	format string
	file   string
}

// LabelsCommand returns "vmtb labels".
func LabelsCommand(e *env.Env) *cobra.Command {
	var o labelsOptions
	cmd := &cobra.Command{
		Use:   "labels",
		Short: "Print this machine's properties as labels, for engines that select machines by labels",
		Long: `Prints the properties of this machine as labels, NAME=VALUE: its GPU, driver, VFs, kernel, QEMU and
more, and the operator's own labels from ` + labelsFile + `. Missing parts have no label. --format
selects the format of an engine: tags of LAVA (one per line), the features of a node of Slurm, tags of a GitLab runner.
Changes nothing. "vmtb help merge" explains how engines use the labels.`,
		Example: `  vmtb labels
  vmtb labels --format=slurm`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), e, cmd.Flags().Changed("file"))
		},
	}
	o.AddPF(cmd)
	cmd.Flags().StringVar(&o.format, "format", "text", strings.Join(labels.Formats, ", "))
	cmd.Flags().StringVar(&o.file, "file", labelsFile, "file with the operator's labels")
	env.CompleteValues(cmd, map[string][]string{"format": labels.Formats})
	return cmd
}

func (o *labelsOptions) run(ctx context.Context, e *env.Env, asked bool) error {
	config, _, err := o.Load()
	if err != nil {
		return err
	}
	ctx, stop := env.CancelOnInterrupt(ctx)
	defer stop()
	own, err := readLabels(o.file, asked)
	if err != nil {
		return err
	}
	set := e.Target(config, false).Labels(ctx, e.Version)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for name, value := range own { // the operator's values take precedence
		set[name] = value
	}
	switch err := set.Write(e.Out, o.format); {
	case errors.Is(err, unix.EPIPE): // the reader has closed the pipe
		return nil
	case err != nil:
		return &bench.UsageError{Err: err}
	}
	return nil
}

// readLabels reads the operator's file. If asked is false, the file may be missing.
func readLabels(file string, asked bool) (labels.Set, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && !asked {
		return nil, nil
	}
	var own labels.Set
	if err == nil {
		own, err = labels.Parse(file, data)
	}
	if err != nil {
		return nil, &bench.UsageError{Err: fmt.Errorf("labels: %w", err)}
	}
	return own, nil
}
