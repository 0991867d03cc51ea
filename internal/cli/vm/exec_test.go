package vm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each command that uses a guest's agent waits for a guest that boots, and reports this.
func TestReachesGuest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"exec":  {"exec", "vm0", "true"},
		"shell": {"shell", "vm0"},
		"in":    {"cp", file, "vm0:" + file + ".in"},
		"out":   {"cp", "vm0:" + file, file + ".out"},
	} {
		t.Run(name, func(t *testing.T) {
			e, said := newEnv(t)
			k := playKeeper(t, e, "vm0", false)
			cmd := Command(e)
			cmd.SetArgs(args)
			if err := cmd.ExecuteContext(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(k.said(), "info ready ") {
				t.Errorf("asked for %q, want info and ready first", k.said())
			}
			if want := "the guest is booting; waiting up to 3 s for its agent"; !strings.Contains(said.String(), want) {
				t.Errorf("said %q, want %q", said, want)
			}
		})
	}
}
