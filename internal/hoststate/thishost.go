package hoststate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"vmtb/bench"
	"vmtb/bench/undo"
	"vmtb/flow"
	"vmtb/internal/procfs"
)

// CheckThisHost returns an error if the journal of the run in dir was written on another machine,
// such as the lab's: the paths in it would mean something else here. The journal is of this host if
// s.Runs has a note of it, or if its run was in this boot. A directory without run.json is taken to
// be of this host.
func (s State) CheckThisHost(dir, journal string) error {
	notes, _ := s.Runs.Notes() // unreadable notes are ignored
	if slices.ContainsFunc(notes, func(n undo.Note) bool { return n.Journal == journal }) {
		return nil
	}
	data, err := os.ReadFile(filepath.Join(dir, "run.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var info flow.Info
	if err == nil {
		err = json.Unmarshal(data, &info)
	}
	if err != nil {
		return &bench.InfraError{Op: "read what is known of the run", Err: err}
	}
	boot, err := procfs.BootID()
	if err != nil {
		return &bench.InfraError{Op: "identify this boot", Err: err}
	}
	if info.BootID == boot {
		return nil
	}
	return &bench.UsageError{
		Err:    fmt.Errorf("%s: that run was on another machine (%s), or before this one was booted", dir, info.DUT),
		Advice: "a reboot has put back all but files, which undo.jsonl names",
	}
}

// CheckResumable returns an error if the run in dir has left another machine changed.
func (s State) CheckResumable(dir string) error {
	path, err := JournalIn(dir)
	if err != nil {
		return err
	}
	log, err := OpenDead(dir, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the run died before it changed anything
	}
	if err != nil {
		return err
	}
	defer log.Close()
	if len(log.Pending()) == 0 {
		return nil
	}
	return s.CheckThisHost(dir, path)
}
