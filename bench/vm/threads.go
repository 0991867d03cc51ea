package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// saveThreads writes what the host's kernel shows of QEMU's threads: where those that hang in it do
// so. Before 11.1 QEMU gives them no names of their own; state.json says which are vCPUs (thread-id
// of query-cpus-fast). Files that would take the lock of QEMU's memory (cmdline, maps) are left
// alone: whoever hangs may hold it.
func (e *Evidence) saveThreads(_ context.Context, file string) error {
	dir := fmt.Sprintf("/proc/%d", e.pid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return errors.New("QEMU has ended")
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "process %d\n%s", e.pid, status)
	tasks, err := os.ReadDir(dir + "/task")
	for _, t := range tasks {
		threadState(&b, filepath.Join(dir, "task", t.Name()))
	}
	return errors.Join(err, os.WriteFile(file, b.Bytes(), 0o644))
}

// threadState adds a thread; what cannot be read of it says why.
func threadState(b *bytes.Buffer, dir string) {
	text := func(name string) string {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return fmt.Sprintf("(%v)", err)
		}
		return strings.TrimSpace(string(data))
	}
	state := "?"
	for line := range strings.Lines(text("status")) {
		if s, ok := strings.CutPrefix(line, "State:"); ok {
			state = strings.TrimSpace(s)
		}
	}
	fmt.Fprintf(b, "\nthread %s %q: %s\nwchan: %s\nsyscall: %s\n%s\n",
		filepath.Base(dir), text("comm"), state, text("wchan"), text("syscall"), text("stack"))
}
