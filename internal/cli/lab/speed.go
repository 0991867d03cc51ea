package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/output"
	"vmtb/internal/progress"
	"vmtb/internal/prose"
	"vmtb/lab"
)

// speedOptions are the flags of "vmtb lab speed".
type speedOptions struct {
	dut    *dutFlags
	guests []int
	rounds int
	asJSON bool
}

func (o *speedOptions) check() error {
	switch {
	case o.rounds < 1:
		return &bench.UsageError{Err: fmt.Errorf("--rounds=%d: want 1 or more", o.rounds)}
	case !slices.Contains(o.guests, 1):
		err := errors.New("--guests must include 1: deadlines depend on the boot time of one guest")
		return &bench.UsageError{Err: err, Advice: "give 1, too: --guests=1,2"}
	}
	for _, n := range o.guests {
		if n < 1 || n > maxSpeedGuests {
			return &bench.UsageError{Err: fmt.Errorf("--guests: %d: want 1 to %d", n, maxSpeedGuests)}
		}
	}
	return nil
}

// maxSpeedGuests is the largest number of guests that fits in the DUT's memory.
const maxSpeedGuests = 4

func speedCommand(e *env.Env, d *dutFlags) *cobra.Command {
	o := speedOptions{dut: d, guests: []int{1}, rounds: 1}
	cmd := &cobra.Command{
		Use:   "speed",
		Short: "Measure how fast guests boot in the lab here",
		Long: `Boots the emulated machine under test and, in it, guests without VFs, until their agents answer.
It stores the result beside the lab's images. Later runs in the lab multiply their deadlines by a third of the
seconds that one guest took; without a result, by 5. With another kernel it stores nothing.`,
		Example: `  vmtb lab speed
  vmtb lab speed --guests=1,2,4 --rounds=5`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			ctx, stop := env.CancelOnInterrupt(cmd.Context())
			defer stop()
			return o.run(ctx, e)
		},
	}
	cmd.Flags().IntSliceVar(&o.guests, "guests", o.guests, "how many guests to boot at once, in turn")
	cmd.Flags().IntVar(&o.rounds, "rounds", o.rounds, "how many times to measure; the median counts")
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "print the measurements as JSON")
	return cmd
}

func (o *speedOptions) run(ctx context.Context, e *env.Env) error {
	if err := o.dut.check(); err != nil {
		return err
	}
	images, err := o.dut.buildImages(ctx, e)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "vmtb-speed-")
	if err != nil {
		return err
	}
	// It has only evidence about the DUT; an error is reported already.
	defer func() { _ = os.RemoveAll(dir) }()
	speed := lab.Speed{Measured: time.Now()}
	p := e.Progress("lab")
	dut, err := lab.Start(ctx, lab.Options{
		Images: images, Dir: filepath.Join(dir, "dut"), Share: dir, Cmdline: o.dut.parameters(), Progress: p,
		Boot: true,
	})
	if err != nil {
		return err
	}
	speed.DUT = time.Since(speed.Measured).Seconds()
	err = o.measureBoots(ctx, dut, p, &speed)
	if err := errors.Join(err, dut.Close(context.WithoutCancel(ctx))); err != nil {
		return err
	}
	if !o.dut.given() { // deadlines follow the lab's usual kernels
		if err := speed.Save(); err != nil {
			return err
		}
	}
	if o.asJSON {
		return output.Print(e.Out, speed)
	}
	return printSpeed(e.Out, speed, o.guests)
}

// measureBoots boots each number of guests once per round. So other load on this machine affects
// all numbers alike.
func (o *speedOptions) measureBoots(ctx context.Context, dut *lab.DUT, p *progress.Progress, speed *lab.Speed) error {
	for round := range o.rounds {
		for _, n := range o.guests {
			name := fmt.Sprintf("booting %s in the DUT, round %d of %d", prose.Count(n, "guest"), round+1, o.rounds)
			err := p.Step(name, func(io.Writer) error {
				boot, err := dut.TimeBoot(ctx, n)
				speed.Boots = append(speed.Boots, boot)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// printSpeed prints a line for each number of guests.
func printSpeed(w io.Writer, speed lab.Speed, guests []int) error {
	for _, n := range guests {
		seconds, cpu := speed.Of(n)
		fmt.Fprintf(w, "%-8s %6.1f s (%.1f to %.1f), CPU of the DUT's QEMU %6.1f s", prose.Count(n, "guest"),
			lab.Median(seconds), slices.Min(seconds), slices.Max(seconds), lab.Median(cpu))
		if n > 1 {
			fmt.Fprintf(w, ", %.1f times one", lab.Median(seconds)/speed.Guest())
		}
		fmt.Fprintln(w)
	}
	_, err := fmt.Fprintf(w, "the DUT booted in %.1f s; deadlines in the lab are multiplied by %g\n",
		speed.DUT, speed.TimeoutScale())
	return err
}
