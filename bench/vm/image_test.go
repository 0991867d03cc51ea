package vm

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"vmtb/bench"
)

func TestCheckImage(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(image, nil, 0o600))
	if err := CheckImage(image); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{image + "2", image + "/x", filepath.Dir(image), "/dev/null", ""} {
		if err := CheckImage(bad); !errors.As(err, new(*bench.UsageError)) {
			t.Errorf("%q: %v, want a UsageError", bad, err)
		}
	}
}
