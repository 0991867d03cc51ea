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
// such as the lab's: its paths would mean other files here. The journal belongs to this host if the
// machine ids agree (checkMachine), and s.Runs has a note of it or its run was in this boot. A
// directory without run.json counts as this host's.
func (s State) CheckThisHost(dir, journal string) error {
	notes, _ := s.Runs.Notes() // unreadable notes are ignored
	known := slices.ContainsFunc(notes, func(n undo.Note) bool { return n.Journal == journal })
	data, err := os.ReadFile(filepath.Join(dir, "run.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var info flow.Info
	if err == nil {
		err = json.Unmarshal(data, &info)
	}
	if err != nil && known {
		return nil
	}
	if err != nil {
		return &bench.InfraError{Op: "read the record of the run", Err: err}
	}
	if err := checkMachine(dir, info, procfs.MachineID()); err != nil {
		return err
	}
	if known {
		return nil
	}
	boot, err := procfs.BootID()
	if err != nil {
		return &bench.InfraError{Op: "identify this boot", Err: err}
	}
	if info.BootID == boot {
		return nil
	}
	return &bench.UsageError{
		Err:    fmt.Errorf("%s: that run was on another machine (%s), or before a reboot of this one", dir, info.DUT),
		Advice: "a reboot has undone all changes except files; undo.jsonl lists those",
	}
}

// checkMachine returns an error if the run was on a machine with another id. It does so even if the
// run was in the same boot, as in containers of one host, or if a shared directory has a note of
// it. A machine without an id matches any.
func checkMachine(dir string, info flow.Info, machine string) error {
	if info.MachineID == "" || machine == "" || info.MachineID == machine {
		return nil
	}
	return &bench.UsageError{
		Err: fmt.Errorf(
			"%s: that run has left changes on another machine (%s), which cannot be undone from this one", dir,
			info.DUT,
		),
		Advice: fmt.Sprintf(
			"on that machine: vmtb recover %[1]s, and then vmtb resume %[1]s; or here, for the flows that did not "+
				"pass: vmtb run --failed-in=%[1]s", dir,
		),
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
