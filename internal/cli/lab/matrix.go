package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/imagebuild"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/flows"
	"vmtb/internal/cli/output"
	"vmtb/internal/prose"
)

// matrixOptions are the flags of "vmtb lab matrix".
type matrixOptions struct {
	runOptions
	asJSON bool
}

// These files are in the directory of a matrix.
const (
	matrixFile = "matrix.json"
	matrixPage = "matrix.html"
)

func matrixCommand(e *env.Env, d *dutFlags) *cobra.Command {
	o := matrixOptions{runOptions: runOptions{dut: d}}
	cmd := &cobra.Command{
		Use:   "matrix --kernel=A,B --guest-kernel=C,D [selection...]",
		Short: "Run flows with each pair of kernels of DUT and guest",
		Long: `Runs the selection in the lab with each pair of the kernels in --kernel and --guest-kernel, and shows
which flow passed with which pair. If a flow passed with one pair and not with another, it shows the first message
that differs. "own" is the lab's own kernel. All results are in one directory, with a page: matrix.html.

If a matrix was interrupted, give its directory (--run-dir) and nothing else, or the same again: pairs that have
results are not run again.

` + flows.SelectionHelp,
		Example: `  vmtb lab matrix --kernel=6.18,7.2,7.3 --guest-kernel=7.2,7.3 test_basic::TestVmSetup
  vmtb lab matrix --run-dir=vmtb-results/20261130-091500-matrix`,
		Args: cobra.ArbitraryArgs, ValidArgsFunction: flows.CompleteSelection(e),
		RunE: func(cmd *cobra.Command, selection []string) error {
			o.forwarded = forwardArgs(cmd.Flags(), "json")
			return o.run(cmd.Context(), e, selection)
		},
	}
	o.AddLab(cmd)
	o.AddLook(cmd)
	o.AddRun(cmd)
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "print the matrix as JSON")
	return cmd
}

func (o *matrixOptions) run(ctx context.Context, e *env.Env, selection []string) error {
	m, err := o.open(selection)
	if err != nil {
		return err
	}
	if err := o.checkCells(ctx, e, m); err != nil {
		return err
	}
	if m.Dir == "" {
		if m.Dir, err = flows.NewRunDir(o.Dir, "-matrix"); err != nil {
			return err
		}
	}
	code := flow.ExitPass
	for i := range m.Cells {
		if m.Cells[i].ExitCode == nil {
			if err := o.runCell(ctx, e, m, i); err != nil {
				return err
			}
		}
		code = worse(code, *m.Cells[i].ExitCode)
		if *m.Cells[i].ExitCode == flow.ExitInterrupted {
			fmt.Fprintf(e.Err, "matrix: 'vmtb lab matrix --run-dir=%s' continues it\n", m.Dir)
			break
		}
	}
	if err := writeMatrix(m); err != nil {
		return err
	}
	if o.asJSON {
		err = output.Print(e.Out, m)
	} else {
		err = printMatrix(e.Out, m)
	}
	fmt.Fprintf(e.Err, "matrix: %s\n", filepath.Join(m.Dir, matrixPage))
	if err == nil && code != flow.ExitPass {
		err = env.ExitCode(code)
	}
	return err
}

// worse returns the exit code that counts: see docs/exit-codes.md.
func worse(a, b int) int {
	order := []int{
		flow.ExitPass, flow.ExitError, flow.ExitFail, flow.ExitAborted, flow.ExitInterrupted, flow.ExitNotRestored,
	}
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}

// open returns the matrix that the flags describe: a new one, or the one in --run-dir.
func (o *matrixOptions) open(selection []string) (*output.Matrix, error) {
	asked := &output.Matrix{
		Kernels: kernelList(o.dut.kernel), Guests: kernelList(o.dut.guestKernel), Selection: selection,
	}
	for _, k := range asked.Kernels {
		for _, g := range asked.Guests {
			asked.Cells = append(asked.Cells, output.MatrixCell{Kernel: k, Guest: g})
		}
	}
	if o.Dir == "" {
		return asked, nil
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, &bench.UsageError{Err: err}
	}
	found, err := readMatrix(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return asked, flows.CheckRunDir(o.Dir)
	}
	if err != nil {
		return nil, err
	}
	others := o.dut.kernel != "" || o.dut.guestKernel != ""
	if others && (!slices.Equal(found.Kernels, asked.Kernels) || !slices.Equal(found.Guests, asked.Guests)) ||
		len(selection) > 0 && !slices.Equal(found.Selection, selection) {
		return nil, &bench.UsageError{
			Err: fmt.Errorf(
				"--run-dir=%s has a matrix of other kernels or flows: --kernel=%s --guest-kernel=%s %s", o.Dir,
				strings.Join(found.Kernels, ","), strings.Join(found.Guests, ","), strings.Join(found.Selection, " "),
			),
			Advice: "give another directory, or no kernels and no selection",
		}
	}
	continueIn(found, dir)
	return found, nil
}

// continueIn prepares a matrix that was read to continue in dir: the directory may have been moved, and
// interrupted cells run again.
func continueIn(m *output.Matrix, dir string) {
	m.Dir = dir
	for i, c := range m.Cells {
		if c.Dir != "" {
			m.Cells[i].Dir = filepath.Join(dir, cellDir(i, c), flows.LabRunName)
		}
		if c.ExitCode != nil && *c.ExitCode == flow.ExitInterrupted {
			m.Cells[i] = output.MatrixCell{Kernel: c.Kernel, Guest: c.Guest}
		}
	}
}

// ownName is the lab's own kernel in the lists of a matrix.
const ownName = "own"

// kernelList returns the kernels in a list, each of them once.
func kernelList(text string) []string {
	var kernels []string
	for name := range strings.SplitSeq(text, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			name = ownName
		}
		if !slices.Contains(kernels, name) {
			kernels = append(kernels, name)
		}
	}
	return kernels
}

// cellFlags returns the flags of the DUT for a cell.
func (o *matrixOptions) cellFlags(c output.MatrixCell) *dutFlags {
	d := *o.dut
	d.kernel, d.guestKernel = c.Kernel, c.Guest
	for _, k := range []*string{&d.kernel, &d.guestKernel} {
		if *k == ownName {
			*k = ""
		}
	}
	return &d
}

// checkCells returns an error if a kernel does not exist, before any cell runs.
func (o *matrixOptions) checkCells(ctx context.Context, e *env.Env, m *output.Matrix) error {
	if o.Collect || o.DryRun {
		return &bench.UsageError{
			Err:    errors.New("vmtb lab matrix has no plan to show"),
			Advice: "vmtb lab run --dry-run shows that of one pair",
		}
	}
	var kernels []imagebuild.Kernel
	for _, c := range m.Cells {
		d := o.cellFlags(c)
		if err := d.check(); err != nil {
			return err
		}
		kernels = append(kernels, d.dutSide.Kernel, d.guestSide.Kernel)
	}
	if _, err := o.Plan(e, m.Selection); err != nil {
		return err
	}
	dir, err := imagebuild.CacheDir()
	if err != nil {
		return err
	}
	ctx, stop := env.CancelOnInterrupt(ctx)
	defer stop()
	return imagebuild.FindKernels(ctx, dir, o.dut.packages, kernels, e.Progress("lab"))
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9.+-]+`)

// cellDir returns the directory of a cell below that of the matrix.
func cellDir(i int, c output.MatrixCell) string {
	short := func(kernel string) string { return notInName.ReplaceAllString(filepath.Base(kernel), "_") }
	return fmt.Sprintf("%02d-%s-%s", i+1, short(c.Kernel), short(c.Guest))
}

// runCell runs the flows of a cell, and records its end in the matrix. It returns an error only if
// no further cell can run.
func (o *matrixOptions) runCell(ctx context.Context, e *env.Env, m *output.Matrix, i int) error {
	c := &m.Cells[i]
	fmt.Fprintf(e.Err, "matrix: %d of %d: DUT %s, guest %s\n", i+1, len(m.Cells), c.Kernel, c.Guest)
	dir := filepath.Join(m.Dir, cellDir(i, *c))
	if err := keepAside(dir); err != nil {
		return err
	}
	if err := writeMatrix(m); err != nil { // for "--run-dir" after a kill
		return err
	}
	run := o.runOptions
	run.dut, run.Dir, run.boot = o.cellFlags(*c), dir, true
	toErr := *e
	toErr.Out = e.Err // standard output is for the matrix
	began := time.Now()
	err := run.run(ctx, &toErr, m.Selection)
	c.Started, c.Seconds = began.UTC().Truncate(time.Second), time.Since(began).Round(time.Second).Seconds()
	code := flow.ExitPass
	if ended, ok := errors.AsType[env.ExitCode](err); ok {
		code = int(ended)
	} else if err != nil {
		if errors.As(err, new(*bench.UsageError)) && !errors.Is(err, imagebuild.ErrUnfit) {
			return err
		}
		code = flow.ExitError
		if errors.Is(err, context.Canceled) {
			code = flow.ExitInterrupted
		}
		c.Error = ansi.Printable(err.Error())
		fmt.Fprintf(e.Err, "matrix: DUT %s, guest %s: %s\n", c.Kernel, c.Guest, c.Error)
	}
	c.ExitCode, c.Dir = &code, filepath.Join(dir, flows.LabRunName)
	readCell(c)
	fmt.Fprintf(
		e.Err, "matrix: %d of %d ended with exit code %d after %s\n", i+1, len(m.Cells), code,
		prose.Exact(time.Since(began).Round(time.Second)),
	)
	return writeMatrix(m)
}

// keepAside renames the directory of a cell that has not run to its end.
func keepAside(dir string) error {
	for n := 1; ; n++ {
		aside := fmt.Sprintf("%s.interrupted-%d", dir, n)
		if _, err := os.Lstat(aside); err == nil {
			continue
		}
		err := os.Rename(dir, aside)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return &bench.InfraError{Op: "keep the interrupted run " + dir, Err: err}
	}
}

// readMatrix reads the matrix in a directory.
func readMatrix(dir string) (*output.Matrix, error) {
	data, err := os.ReadFile(filepath.Join(dir, matrixFile))
	if err != nil {
		return nil, err
	}
	return parseMatrix(data)
}

// parseMatrix reads the content of matrix.json.
func parseMatrix(data []byte) (*output.Matrix, error) {
	var m output.Matrix
	err := json.Unmarshal(data, &m)
	if err == nil && len(m.Cells) != len(m.Kernels)*len(m.Guests) {
		err = fmt.Errorf("it has %d cells for %d × %d kernels", len(m.Cells), len(m.Kernels), len(m.Guests))
	}
	if err != nil {
		return nil, &bench.UsageError{Err: fmt.Errorf("%s: %w", matrixFile, err), Advice: "give another --run-dir"}
	}
	return &m, nil
}
