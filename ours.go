package vmtb

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

// checkOurs refuses to undo on this machine what was done on another one, such as in the lab: what the journal names would
// be somebody else's. It is this machine's if the machine ids agree (checkMachine), and the run left word of itself here or was in this
// boot. A directory without run.json is not refused.
func (a *app) checkOurs(dir, journal string) error {
	notes, _ := a.state.runs.Notes() // those that read
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
		return &bench.InfraError{Op: "read what is known of the run", Err: err}
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
		Err:    fmt.Errorf("%s: that run was on another machine (%s), or before this one was booted", dir, info.DUT),
		Advice: "a reboot has put back all but files, which undo.jsonl names",
	}
}

// checkMachine refuses to undo what was done on a machine with another id than this one, even if it is in the same boot, as containers of
// one host are, or if it left word of itself in a directory that both share. A machine without an id is not refused.
func checkMachine(dir string, info flow.Info, machine string) error {
	if info.MachineID == "" || machine == "" || info.MachineID == machine {
		return nil
	}
	return &bench.UsageError{
		Err:    fmt.Errorf("%s: that run has left changes on another machine (%s), which cannot be undone from this one", dir, info.DUT),
		Advice: fmt.Sprintf("there: vmtb recover %[1]s, and then vmtb resume %[1]s; or run here what did not pass: vmtb run --failed-in=%[1]s", dir),
	}
}

// checkResumable refuses to resume a run that has left something on another machine.
func (a *app) checkResumable(dir string) error {
	path, err := journalOf(dir)
	if err != nil {
		return err
	}
	log, err := openDead(dir, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it died before
	}
	if err != nil {
		return err
	}
	defer log.Close()
	if len(log.Pending()) == 0 {
		return nil
	}
	return a.checkOurs(dir, path)
}
