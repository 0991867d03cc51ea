package hoststate

import (
	"path/filepath"
	"testing"
)

// A keeper works in another directory, and still finds the state of the command that started it.
func TestRelativeStateDir(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv(Variable, "relative/state")
	want := filepath.Join(dir, "relative/state")
	s := FromEnvironment()
	for _, path := range []string{s.LockFile, s.Runs.Dir, s.Machines.Dir, s.Labs.Dir, s.VFChanges} {
		if rel, err := filepath.Rel(want, path); err != nil || !filepath.IsLocal(rel) {
			t.Errorf("%s, want it below %s", path, want)
		}
	}
}
