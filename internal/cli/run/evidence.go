package run

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"vmtb/bench/vm"
	"vmtb/flow"
)

// evidenceOf returns the engine's [flow.Options.Evidence]. When a case or a fixture misses its
// deadline, every machine collects evidence in its own folder. evidence.txt in dir lists the
// folders.
func evidenceOf(machines *vm.Roster) func(ctx context.Context, id flow.ID, dir string) {
	return func(ctx context.Context, id flow.ID, dir string) {
		lines := machines.CollectEvidence(ctx, vm.EvidenceOptions{Why: id.String() + ": deadline missed"})
		if len(lines) == 0 {
			return
		}
		text := strings.Join(lines, "\n") + "\n"
		// if the disk is full, the journal will fail, too
		_ = os.WriteFile(filepath.Join(dir, "evidence.txt"), []byte(text), 0o644)
	}
}
