package undo_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"vmtb/bench/undo"
	"vmtb/internal/fake/fakehost"
)

// otherBoot changes the records in a journal to an earlier boot of the host.
func otherBoot(t *testing.T, path string) {
	t.Helper()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	old := bytes.ReplaceAll(data, bytes.TrimSpace(boot), []byte("00000000-0000-0000-0000-000000000000"))
	if bytes.Equal(old, data) {
		t.Fatal("no record names its boot")
	}
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
}

// After a reboot, a value that looks like our change is the host's own. Undo only removes files
// that we made.
func TestUndoAfterReboot(t *testing.T) {
	path := journal(t)
	h, l := newHost(t), open(t, path)
	write(t, l, h, undo.Write{Path: numvfs, Old: "0", New: "2"})
	for _, r := range []undo.Record{
		undo.Module{Name: "xe"}, undo.Path{Path: "/tmp/left"}, undo.Write{Path: "/etc/x", Old: "a"}, own{"unknown"},
	} {
		if err := l.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Create("/tmp/left", nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	otherBoot(t, path)
	l = open(t, path)
	var told []string
	err := l.UndoAndTell(t.Context(), h, 0, func(e undo.Entry, err error) {
		what := "undone"
		switch {
		case errors.Is(err, undo.ErrPast):
			what = "past"
		case err != nil:
			what = "stays"
		}
		told = append(told, e.Record.Kind()+" "+what)
	})
	if want := "own stays; write undone; path undone; module past; write past"; strings.Join(told, "; ") != want {
		t.Errorf("told %q, want %s", told, want)
	}
	if err == nil || strings.Contains(err.Error(), undo.ErrPast.Error()) || len(l.Pending()) != 1 {
		t.Errorf("Undo: %v, pending %v", err, l.Pending())
	}
	if n, err := h.ReadFile(numvfs); err != nil || strings.TrimSpace(string(n)) != "2" ||
		!exists(h, "/sys/module/xe") || exists(h, "/tmp/left") {
		t.Errorf("sriov_numvfs %q, %v, or xe unloaded, or a file left", n, err)
	}
	// Changes of the new boot are undone as usual, from the same journal.
	write(t, l, h, undo.Write{Path: autoprobe, Old: "1", New: "0"})
	if err := l.Undo(t.Context(), h); err == nil || len(l.Pending()) != 1 {
		t.Errorf("Undo: %v, pending %v", err, l.Pending())
	}
	if v, err := h.ReadFile(autoprobe); err != nil || strings.TrimSpace(string(v)) != "1" {
		t.Errorf("autoprobe %q, %v", v, err)
	}
}

func exists(h *fakehost.Host, path string) bool {
	_, err := h.Stat(path)
	return err == nil
}
