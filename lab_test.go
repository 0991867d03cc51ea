package vmtb

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"vmtb/bench"
)

// What a configuration names goes into the lab with it, if it lies below it.
func TestGiveDirs(t *testing.T) {
	base, dir, other := t.TempDir(), t.TempDir(), t.TempDir()
	profiles := filepath.Join(base, "my", "profiles")
	if err := errors.Join(os.MkdirAll(profiles, 0o755), os.WriteFile(filepath.Join(profiles, "x.json"), []byte("{}"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the lab may be started again with the same directory
		if err := giveDirs(dir, base, profiles, filepath.Join(base, "none")); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := os.ReadFile(filepath.Join(dir, "my", "profiles", "x.json")); err != nil || string(data) != "{}" {
		t.Errorf("%q, %v", data, err)
	}
	if err := giveDirs(dir, base, other); !errors.As(err, new(*bench.UsageError)) {
		t.Errorf("%v, want a UsageError for a directory elsewhere", err)
	}
}
