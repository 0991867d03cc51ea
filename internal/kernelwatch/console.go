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

// A console is the console log of a machine, read as it grows.
type console struct {
	machine, path string
	offset        int64
}

// maxLine limits how many bytes of a line are in memory. It is much more than the longest line of a
// kernel.
const maxLine = 64 << 10

// Follow implements [flow.Watcher]. It writes the console's new lines to console-MACHINE.txt in the
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

// readConsole judges all new complete lines. Only the stored text has a limit. If the machine has
// ended, the last line counts as complete. The caller holds w.mu.
func (w *Watch) readConsole(c *console, ended bool) {
	f, err := os.Open(c.path)
	if err != nil {
		return // the file does not exist yet
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return
	}
	out := &logFile{path: filepath.Join(w.dir, fmt.Sprintf("console-%s.txt", c.machine)), left: maxLog}
	// A guest may write faster than we read: later output belongs to the next phase.
	in := bufio.NewReaderSize(io.NewSectionReader(f, c.offset, info.Size()-c.offset), maxLine)
	for {
		line, err := in.Peek(maxLine)
		switch end := bytes.IndexByte(line, '\n'); {
		case end >= 0:
			line = line[:end+1]
		case err != nil: // the rest of a line comes in the next phase
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
		_, _ = in.Discard(len(line)) // Peek has just returned it
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
