package kernelwatch

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vmtb/bench/klog"
	"vmtb/flow"
)

// A console is the console log of a machine, which is read as it grows.
type console struct {
	machine, path string
	offset        int64
}

// maxLine limits how much of a line is in memory. It is much more than a kernel puts into one.
const maxLine = 64 << 10

// Follow implements [flow.Watcher]: the console's new lines are in console-MACHINE.txt in the
// folder of each phase.
func (w *Watch) Follow(machine, path string) (stop func()) {
	c := &console{machine: machine, path: path}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.guests = append(w.guests, c)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.readConsole(c, true)
		w.guests = slices.DeleteFunc(w.guests, func(o *console) bool { return o == c })
	}
}

// readConsole judges all new whole lines. Only what it stores has a limit. If the machine has
// ended, the last line counts as whole. The caller holds w.mu.
func (w *Watch) readConsole(c *console, ended bool) {
	f, err := os.Open(c.path)
	if err != nil {
		return // not there yet
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return
	}
	out := &logFile{path: filepath.Join(w.dir, fmt.Sprintf("console-%s.txt", c.machine)), left: maxLog}
	// A guest may write faster than we read: what is written from now on belongs to the next phase.
	in := bufio.NewReaderSize(io.NewSectionReader(f, c.offset, info.Size()-c.offset), maxLine)
	for {
		line, err := in.Peek(maxLine)
		switch end := bytes.IndexByte(line, '\n'); {
		case end >= 0:
			line = line[:end+1]
		case err != nil: // the rest of a line comes with the next phase
			if ended {
				w.consoleLine(c.machine, string(line), out)
			}
			if err := out.close(); err != nil {
				w.find(flow.Finding{Source: c.machine, Rule: ruleLog, Text: err.Error()})
			}
			return
		default:
			line = line[:klog.CutLine(string(line))]
		}
		w.consoleLine(c.machine, string(line), out)
		c.offset += int64(len(line))
		_, _ = in.Discard(len(line)) // it has just been peeked at
	}
}

// consoleLine handles a line, or a piece of a very long one.
func (w *Watch) consoleLine(machine, line string, out *logFile) {
	if strings.TrimSpace(line) == "" {
		return
	}
	out.write(line)
	for _, m := range klog.ParseConsole(line) {
		w.judge(machine, m.Text, m)
	}
}
