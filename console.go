package vmtb

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"vmtb/bench/klog"
	"vmtb/flow"
)

// A console is the log of a machine's console, read as it grows.
type console struct {
	machine, path string
	offset        int64
}

// maxConsole bounds what is read of a console after one phase.
const maxConsole = 16 << 20

// Follow implements [flow.Watcher]: the console's new lines are in console-MACHINE.txt in the folder of each phase.
func (w *kernelWatch) Follow(machine, path string) (stop func()) {
	c := &console{machine: machine, path: path}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.guests = append(w.guests, c)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.guests = slices.DeleteFunc(w.guests, func(o *console) bool { return o == c })
	}
}

// readConsole judges the whole lines that are new. w.mu is held.
func (w *kernelWatch) readConsole(c *console) {
	f, err := os.Open(c.path)
	if err != nil {
		return // not there yet
	}
	defer f.Close()
	if _, err := f.Seek(c.offset, io.SeekStart); err != nil {
		return
	}
	out := &logFile{path: filepath.Join(w.dir, fmt.Sprintf("console-%s.txt", c.machine)), left: maxLog}
	in := bufio.NewReader(io.LimitReader(f, maxConsole))
	for {
		line, err := in.ReadBytes('\n')
		if err != nil && int64(len(line)) < maxConsole { // the rest of a line comes with the next phase
			break
		}
		if c.offset += int64(len(line)); len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		out.write(string(line))
		if m, ok := klog.ParseConsole(string(line)); ok {
			w.judge(c.machine, m.Text, m)
		}
	}
	if err := out.close(); err != nil {
		w.find(flow.Finding{Source: c.machine, Rule: ruleLog, Text: err.Error()})
	}
}
