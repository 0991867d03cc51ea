package lab

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"vmtb/flow"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/output"
	"vmtb/report/run"
)

// readCell fills in the results of a cell, from its run directory. A run that did not begin has
// none.
func readCell(c *output.MatrixCell) {
	dir, err := flow.OpenRun(c.Dir)
	if err != nil {
		if c.Error == "" {
			c.Error = "the run did not begin: " + ansi.Printable(err.Error())
		}
		return
	}
	c.Results = nil
	history := run.Read(dir)
	for _, item := range dir.Info.Plan {
		last := history.Cases[item.ID].Last()
		c.Results = append(c.Results, output.MatrixFlow{
			ID: item.ID.String(), Result: last.Result, Reason: run.OneLine(last.Reason, 500),
		})
	}
	c.KernelRelease, c.GuestRelease = history.Fact("host kernel"), history.Fact("guest kernel")
}

// logFiles returns the kernel logs below a folder of a run directory: those of the host, then those
// of guests. Paths are relative to the run directory.
func logFiles(runDir, folder string) []string {
	var host, guests []string
	// A folder that cannot be read has no logs to compare.
	_ = fs.WalkDir(os.DirFS(runDir), filepath.ToSlash(filepath.Clean(folder)),
		func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.Name() == "dmesg.txt":
				host = append(host, path)
			case d.Name() == "console.log" || strings.HasPrefix(d.Name(), "console-"):
				guests = append(guests, path)
			}
			return nil
		})
	return slices.Concat(host, guests)
}

// maxLogFile limits what is read of one log: a guest may print without end.
const maxLogFile = 4 << 20

func readLog(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxLogFile))
	if err != nil {
		return ""
	}
	return string(data)
}

// compareCells sets the differences of a matrix: for each flow and cell that did not pass it, a
// comparison with a cell that did. It takes one with the same kernel on one side, if there is one.
func compareCells(m *output.Matrix) {
	m.Differences = nil
	for _, failed := range m.Cells {
		for _, f := range failed.Results {
			if passed(f.Result) {
				continue
			}
			if good := nearest(m, failed, f.ID); good != nil {
				m.Differences = append(m.Differences, difference(*good, failed, f))
			}
		}
	}
}

func passed(r flow.Result) bool { return r == flow.Pass || r == flow.DmesgWarn }

// resultOf returns the result of a flow in a cell; the zero MatrixFlow if it has none.
func resultOf(c output.MatrixCell, id string) output.MatrixFlow {
	for _, f := range c.Results {
		if f.ID == id {
			return f
		}
	}
	return output.MatrixFlow{}
}

// nearest returns the cell that passed a flow and has the most in common with c; nil if there is
// none.
func nearest(m *output.Matrix, c output.MatrixCell, id string) *output.MatrixCell {
	var best *output.MatrixCell
	most := -1
	for i, other := range m.Cells {
		if !passed(resultOf(other, id).Result) {
			continue
		}
		common := 0
		if other.Kernel == c.Kernel {
			common++
		}
		if other.Guest == c.Guest {
			common++
		}
		if common > most {
			best, most = &m.Cells[i], common
		}
	}
	return best
}

// difference compares a flow in two cells.
func difference(good, bad output.MatrixCell, f output.MatrixFlow) output.MatrixDifference {
	d := output.MatrixDifference{
		ID: f.ID, Result: f.Result, Passed: output.MatrixPair{Kernel: good.Kernel, Guest: good.Guest},
		Failed: output.MatrixPair{Kernel: bad.Kernel, Guest: bad.Guest},
	}
	folder := folderOf(bad.Dir, f.ID)
	for _, file := range logFiles(bad.Dir, folder) {
		before := readLog(filepath.Join(good.Dir, file))
		if before == "" {
			continue
		}
		only, instead := firstDifference(before, readLog(filepath.Join(bad.Dir, file)))
		if only != "" || instead != "" {
			d.Where, d.Only, d.Instead = file, only, instead
			return d
		}
	}
	if f.Reason != "" {
		d.Where, d.Only = "reason", f.Reason
	}
	return d
}

// folderOf returns the folder of a flow's fixture in a run directory.
func folderOf(runDir, id string) string {
	dir, err := flow.OpenRun(runDir)
	if err != nil {
		return ""
	}
	for _, item := range dir.Info.Plan {
		if item.ID.String() == id {
			return filepath.Dir(item.Dir)
		}
	}
	return ""
}

// aboutGPU matches the kernel messages that firstDifference compares: of the GPU's drivers, and of a
// kernel in trouble. Others differ between any two kernels.
var aboutGPU = regexp.MustCompile(`\bxe\b|\[drm\]|\bvfio|\bWARNING:|\bBUG:|\bKASAN:|Oops|Kernel panic|Call Trace`)

var (
	stamp   = regexp.MustCompile(`^(<[0-9]+>)?\[ *[0-9]+\.[0-9]+\] ?(\[ *[TC][0-9]+\] ?)?`)
	numbers = regexp.MustCompile(`0x[0-9a-fA-F]+|\b[0-9a-f]{8,}\b|[0-9]+`)
)

// firstDifference returns the first message of a kernel log that the other one lacks, and the
// message of the other one at that place. Times, addresses and numbers do not count. Both are ""
// if there is none.
func firstDifference(passed, failed string) (only, instead string) {
	a, b := messages(passed), messages(failed)
	shape := func(line string) string { return numbers.ReplaceAllString(line, "N") }
	has := func(lines []string) map[string]bool {
		known := map[string]bool{}
		for _, line := range lines {
			known[shape(line)] = true
		}
		return known
	}
	inA, inB := has(a), has(b)
	lacks := func(lines []string, known map[string]bool) string {
		for _, line := range lines {
			if !known[shape(line)] {
				return line
			}
		}
		return ""
	}
	return lacks(b, inA), lacks(a, inB)
}

// messages returns the lines of a kernel log that firstDifference compares, without their times.
func messages(log string) []string {
	var lines []string
	for line := range strings.Lines(log) {
		line = stamp.ReplaceAllString(strings.TrimSpace(line), "")
		if aboutGPU.MatchString(line) {
			lines = append(lines, run.OneLine(line, 300))
		}
	}
	return lines
}

// printMatrix prints a line for each flow and kernel of the DUT, with a column for each kernel of
// the guests.
func printMatrix(w io.Writer, m *output.Matrix) error {
	width := len("DUT")
	for _, k := range m.Kernels {
		width = max(width, len(k))
	}
	columns := make([]int, len(m.Guests))
	for i, g := range m.Guests {
		columns[i] = max(len("guest "+g), len("dmesg-warn"))
	}
	for _, id := range flowsOf(m) {
		fmt.Fprintf(w, "%s\n  %-*s", id, width, "DUT")
		for i, g := range m.Guests {
			fmt.Fprintf(w, "  %-*s", columns[i], "guest "+g)
		}
		for r, k := range m.Kernels {
			fmt.Fprintf(w, "\n  %-*s", width, k)
			for i := range m.Guests {
				fmt.Fprintf(w, "  %-*s", columns[i], cellText(m.Cells[r*len(m.Guests)+i], id))
			}
		}
		fmt.Fprintln(w)
	}
	for _, c := range m.Cells {
		if c.Error != "" {
			fmt.Fprintf(w, "DUT %s, guest %s: %s\n", c.Kernel, c.Guest, run.OneLine(c.Error, 500))
		}
	}
	for _, d := range m.Differences {
		fmt.Fprintf(w, "%s: %s with DUT %s, guest %s; passed with DUT %s, guest %s\n", d.ID, d.Result,
			d.Failed.Kernel, d.Failed.Guest, d.Passed.Kernel, d.Passed.Guest)
		for _, line := range differenceLines(d) {
			fmt.Fprintf(w, "  %s\n", line)
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}

// differenceLines describes the first message that differs.
func differenceLines(d output.MatrixDifference) (lines []string) {
	switch d.Where {
	case "":
		return []string{"no message differs"}
	case "reason":
		return []string{"no kernel message differs; reason: " + d.Only}
	}
	if d.Only != "" {
		lines = append(lines, "only there, in "+d.Where+": "+d.Only)
	}
	if d.Instead != "" {
		lines = append(lines, "only where it passed, in "+d.Where+": "+d.Instead)
	}
	return lines
}

// flowsOf returns the ids of all flows in a matrix, in the order of the plans.
func flowsOf(m *output.Matrix) []string {
	var ids []string
	for _, c := range m.Cells {
		for _, f := range c.Results {
			if !slices.Contains(ids, f.ID) {
				ids = append(ids, f.ID)
			}
		}
	}
	return ids
}

// cellText returns the result of a flow in a cell, as a table shows it.
func cellText(c output.MatrixCell, id string) string {
	switch r := resultOf(c, id).Result; {
	case r != "":
		return string(r)
	case c.ExitCode == nil:
		return "not run"
	}
	return "no result"
}
