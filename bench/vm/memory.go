package vm

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"vmtb/bench/qmp"
)

// dumpTime is what a dump of the guest's memory may take.
func (e *Evidence) dumpTime() time.Duration {
	return e.life.scaled(time.Minute + time.Duration(e.memoryMiB)*30*time.Second/1024)
}

// saveMemory has QEMU write the guest's memory, compressed if it can, as crash(8) reads it. QEMU
// stops the guest meanwhile, and goes on in the background when ctx ends: nothing cancels a dump.
func (e *Evidence) saveMemory(ctx context.Context, file string) error {
	if err := e.roomForMemory(file); err != nil {
		return err
	}
	format, err := e.dumpFormat(ctx)
	if err != nil {
		return err
	}
	events := e.qmp.Subscribe(func(ev qmp.Event) bool { return ev.Name == "DUMP_COMPLETED" })
	defer events.Close()
	args := map[string]any{"paging": false, "protocol": "file:" + file, "format": format, "detach": true}
	if err := e.qmp.Execute(ctx, "dump-guest-memory", args, nil); err != nil {
		return err
	}
	end, err := events.Next(ctx)
	if err != nil {
		return fmt.Errorf("dump of the guest's memory: %w", err)
	}
	return dumpResult(end)
}

// dumpFormat is the best that this QEMU has.
func (e *Evidence) dumpFormat(ctx context.Context) (string, error) {
	var can struct{ Formats []string }
	if err := e.qmp.Execute(ctx, "query-dump-guest-memory-capability", nil, &can); err != nil {
		return "", err
	}
	const compressed = "kdump-zlib"
	if slices.Contains(can.Formats, compressed) {
		return compressed, nil
	}
	return "elf", nil
}

// dumpResult reads the event at the end of a dump.
func dumpResult(e qmp.Event) error {
	var end struct {
		Result struct{ Status string }
		Error  string
	}
	if err := json.Unmarshal(e.Data, &end); err != nil {
		return fmt.Errorf("%s: %w", e.Name, err)
	}
	if end.Result.Status != "completed" {
		return fmt.Errorf("dump of the guest's memory: %s %s", end.Result.Status, end.Error)
	}
	return nil
}

// roomForMemory is nil if the guest's memory fits on the disk.
func (e *Evidence) roomForMemory(file string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(file), &fs); err != nil {
		return err
	}
	if free := fs.Bavail * uint64(fs.Bsize); free>>20 < uint64(e.memoryMiB) {
		return fmt.Errorf("left out: the guest has %d MiB of memory, the disk %d MiB free", e.memoryMiB, free>>20)
	}
	return nil
}
