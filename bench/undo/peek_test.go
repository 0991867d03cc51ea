package undo

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Peek does not wait for the writer of a journal, does not block it, and does not cut off a torn
// line.
func TestPeek(t *testing.T) {
	path := filepath.Join(t.TempDir(), "undo.jsonl")
	if _, err := Peek(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no journal: %v", err)
	}
	log, err := Open(path)
	if err == nil {
		err = errors.Join(log.Add(Path{Path: "/a/b"}), log.Add(Module{Name: "xe"}))
	}
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Peek(path); err != nil || len(got) != 2 || got[1].Record != (Module{Name: "xe"}) {
		t.Errorf("while it is open: %+v, %v", got, err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	torn := data[:len(data)-3]
	if err := os.WriteFile(path, torn, 0o400); err != nil {
		t.Fatal(err)
	}
	if got, err := Peek(path); err != nil || len(got) != 1 {
		t.Errorf("torn: %+v, %v", got, err)
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != string(torn) {
		t.Errorf("the journal was changed: %q, %v", now, err)
	}
	if _, err := Peek(t.TempDir()); err == nil {
		t.Error("a directory is a journal")
	}
}
