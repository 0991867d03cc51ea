package imagebuild

import (
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"vmtb/bench"
)

// Each missing program and the missing mirror is named, with its remedy.
func TestMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv(mirrorVariable, "")
	var text []string
	for _, err := range Missing(t.Context(), filepath.Join(t.TempDir(), "not", "yet")) {
		e, ok := errors.AsType[*bench.InfraError](err)
		if !ok || e.Advice == "" {
			t.Errorf("no advice: %v", err)
		}
		text = append(text, err.Error())
	}
	for _, want := range []string{"mmdebstrap", "unshare", mirrorVariable} {
		if !strings.Contains(strings.Join(text, "\n"), want) {
			t.Errorf("%q, want %s", text, want)
		}
	}
}

func TestCheckRoom(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "yet")
	if err := checkRoom(dir, 1); err != nil {
		t.Error(err)
	}
	if err := checkRoom(dir, math.MaxUint64); err == nil || !strings.Contains(err.Error(), "MiB free") {
		t.Errorf("%v, want that room is missing", err)
	}
}
