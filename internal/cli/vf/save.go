package vf

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/internal/atomicfile"
	"vmtb/internal/cli/env"
	"vmtb/internal/pick"
	"vmtb/internal/prose"
)

// saveOptions are the flags of "vmtb vf save".
type saveOptions struct {
	config *bench.Config
	vf     pick.VFName
	file   string
}

func saveCommand(e *env.Env) *cobra.Command {
	var flags env.ConfigFlags
	var o saveOptions
	cmd := &cobra.Command{
		Use:   "save VF FILE",
		Short: "Save the state of a paused VF in a file",
		Long: `Writes the state of a paused VF ("1", "VF1" or its PCI address), with its local memory, into FILE. The
VF stays paused. FILE is replaced only after the whole state was read: after an error it is unchanged.
Refused while a virtual machine uses the VF: save the machine instead ("vmtb vm save").

There is nothing to undo afterwards. Needs Linux 6.19 and debugfs, and a GPU whose firmware can save VFs.`,
		Example: `  vmtb vf pause 1
  vmtb vf save 1 vf1.state`,
		Args: cobra.ExactArgs(2), ValidArgsFunction: completeStateFile,
	}
	cmd.RunE = changeVFs(&flags, func(c *bench.Config, args []string) (err error) {
		o.config, o.file = c, args[1]
		o.vf, err = pick.ParseOneVF(args[0])
		return err
	}, func(ctx context.Context) error { return o.run(ctx, e) })
	flags.AddPF(cmd)
	return cmd
}

func (o *saveOptions) run(ctx context.Context, e *env.Env) error {
	return inSession(ctx, e, func(ctx context.Context, s *session) error {
		vf, err := s.control(o.config.Host, o.vf, "being saved", false)
		if err != nil {
			return err
		}
		size, err := vf.MigrationSize()
		if err != nil {
			return err
		}
		f, err := atomicfile.Create(o.file, 0o600)
		if err != nil {
			return &bench.UsageError{Err: err, Advice: "FILE is the file to write the state to"}
		}
		mark := s.log.Mark()
		err = s.Progress("vf").Step(fmt.Sprintf("save %s in %s", vf.name, o.file), func(log io.Writer) error {
			return s.halting(ctx, vf, func() error { return vf.Save(ctx, &counted{w: f, log: log, total: size}) })
		})
		if err != nil {
			return errors.Join(err, f.Discard())
		}
		if err := s.dropHalts(vf.halt, mark); err != nil { // the VF is paused again, as before
			return errors.Join(err, f.Discard())
		}
		if err := f.Commit(); err != nil {
			return &bench.InfraError{Op: "write " + o.file, Err: err, Advice: "is the disk full?"}
		}
		return nil
	})
}

// counted passes data on, and shows how many bytes it has passed.
type counted struct {
	w           io.Writer
	r           io.Reader
	log         io.Writer
	done, total int64
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.count(n)
	return n, err
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.count(n)
	return n, err
}

func (c *counted) count(n int) {
	c.done += int64(n)
	fmt.Fprintf(c.log, "%s of %s\n", prose.Bytes(c.done), prose.Bytes(max(c.done, c.total)))
}
