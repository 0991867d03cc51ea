package vmtb

import (
	"path/filepath"
	"testing"
)

// A keeper, which works in another directory, finds the state of the command that has started it.
func TestRelativeStateDir(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv(stateVariable, "relative/state")
	want := filepath.Join(dir, "relative/state")
	s := hostState()
	for _, path := range []string{s.lockFile, s.runs.Dir, s.machines.Dir, s.labs.Dir, s.manual} {
		if rel, err := filepath.Rel(want, path); err != nil || !filepath.IsLocal(rel) {
			t.Errorf("%s, want it below %s", path, want)
		}
	}
}
