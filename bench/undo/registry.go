package undo

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"vmtb/internal/atomicfile"
)

// A Registry is a directory with a note for each run that may have changed the host. A note is
// always complete. It survives a reboot if the directory does.
type Registry struct{ Dir string }

// A Note is a run's entry in a registry.
type Note struct {
	Journal string  `json:"journal"` // absolute path
	Process Process `json:"process"` // of the run
}

const noteSuffix = ".json"

// Enter writes a note for this process's journal. It replaces an earlier note of the same journal.
func (r Registry) Enter(journal string) error {
	me, err := ProcessOf(os.Getpid())
	if err != nil {
		return err
	}
	data, err := json.Marshal(Note{journal, me})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.Dir, 0o755); err != nil {
		return err
	}
	return atomicfile.WriteFile(r.file(journal), append(data, '\n'), 0o600)
}

// Leave deletes the note of a journal. A missing note is no error.
func (r Registry) Leave(journal string) error {
	err := os.Remove(r.file(journal))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, atomicfile.SyncDir(r.Dir))
}

// file returns the path of a journal's note.
func (r Registry) file(journal string) string {
	sum := sha256.Sum256([]byte(journal))
	return filepath.Join(r.Dir, hex.EncodeToString(sum[:8])+noteSuffix)
}

// Notes returns all notes that can be read. The error joins the errors of the others.
func (r Registry) Notes() ([]Note, error) {
	files, err := os.ReadDir(r.Dir)
	if err != nil {
		return nil, ignoreGone(err)
	}
	var notes []Note
	var errs []error
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), noteSuffix) {
			continue
		}
		path := filepath.Join(r.Dir, f.Name())
		data, err := os.ReadFile(path)
		var n Note
		if err == nil {
			err = json.Unmarshal(data, &n)
		}
		if err == nil && !filepath.IsAbs(n.Journal) {
			err = errors.New("it has no absolute path of a journal")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("note of a run %s: %w", path, err))
			continue
		}
		notes = append(notes, n)
	}
	return notes, errors.Join(errs...)
}
