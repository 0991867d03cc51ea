package undo_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vmtb/bench/undo"
)

func TestRegistry(t *testing.T) {
	r := undo.Registry{Dir: filepath.Join(t.TempDir(), "deep", "runs")}
	if notes, err := r.Notes(); err != nil || len(notes) != 0 {
		t.Errorf("before the first run: %v, %v", notes, err)
	}
	for _, j := range []string{"/a/undo.jsonl", "/b/undo.jsonl", "/a/undo.jsonl"} {
		if err := r.Enter(j); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time it is gone already
		if err := r.Leave("/b/undo.jsonl"); err != nil {
			t.Error(err)
		}
	}
	for name, content := range map[string]string{"bad.json": "{", "empty.json": "{}", "x.tmp": "torn"} {
		if err := os.WriteFile(filepath.Join(r.Dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	me, err := undo.ProcessOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	notes, err := r.Notes()
	if len(notes) != 1 || notes[0] != (undo.Note{Journal: "/a/undo.jsonl", Process: me}) {
		t.Errorf("notes: %+v", notes)
	}
	if err == nil || !strings.Contains(err.Error(), "bad.json") || !strings.Contains(err.Error(), "empty.json") ||
		strings.Contains(err.Error(), "x.tmp") {
		t.Errorf("notes that cannot be read: %v", err)
	}
}
