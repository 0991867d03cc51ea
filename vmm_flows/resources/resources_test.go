package resources

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vmtb/bench"
	"vmtb/bench/xe/vgpu"
)

// Every model with vGPU profiles has every descriptor that the Python tool's flows use.
func TestWsim(t *testing.T) {
	files, err := fs.Glob(vgpu.Files(), "*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, profile := range files {
		model := strings.TrimSuffix(profile, ".json")
		for _, name := range []string{
			"short_preempt", "short_nonpreempt", "long_preempt", "long_nonpreempt", "idle_ctxs",
		} {
			if data, _, err := Wsim("", model, name); err != nil || !strings.Contains(string(data), ".DEFAULT.") {
				t.Errorf("%s/%s: %q, %v", model, name, data, err)
			}
		}
	}
}

func TestWsimOverride(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(
		os.Mkdir(filepath.Join(dir, "Ptl"), 0o755),
		os.WriteFile(filepath.Join(dir, "Ptl/long_preempt.wsim"), []byte("mine"), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	if data, from, err := Wsim(dir, "Ptl", "long_preempt"); err != nil || string(data) != "mine" ||
		from != filepath.Join(dir, "Ptl/long_preempt.wsim") {
		t.Errorf("the user's: %q, %v", data, err)
	}
	if data, from, err := Wsim(dir, "Ptl", "short_preempt"); err != nil || string(data) == "mine" ||
		from != "vmtb's own Ptl/short_preempt.wsim" {
		t.Errorf("what the user has not: %q, %v", data, err)
	}
	// The folders of the Python tool work, too.
	for model, theirs := range map[string]string{"Ptl": "ptl", "Bmg_g21_12": "bmg"} {
		file := filepath.Join(dir, theirs, "short_preempt.wsim")
		if err := errors.Join(
			os.Mkdir(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("theirs"), 0o644),
		); err != nil {
			t.Fatal(err)
		}
		if data, from, err := Wsim(dir, model, "short_preempt"); err != nil || string(data) != "theirs" ||
			from != file {
			t.Errorf("%s: %q from %s, %v", model, data, from, err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "Ptl/idle_ctxs.wsim"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nothing", "idle_ctxs", "../x"} {
		_, _, err := Wsim(dir, "Ptl", name)
		if _, ok := errors.AsType[*bench.UsageError](err); !ok {
			t.Errorf("%s: %v, want a usage error", name, err)
		}
	}
}
