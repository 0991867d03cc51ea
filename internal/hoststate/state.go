package hoststate

import (
	"os"
	"path/filepath"

	"vmtb/bench/host"
	"vmtb/bench/keep"
	"vmtb/bench/undo"
	"vmtb/bench/vm/warm"
)

// Variable is the environment variable that names a directory to use instead of [Dir] and of the
// directory of [host.LockFile]. Tests set it, and so do users who have no write permission there.
const Variable = "VMTB_STATE_DIR"

// Dir is the directory of files that outlive a run and a reboot (FHS 3.0, 5.8).
const Dir = "/var/lib/vmtb"

// A State is vmtb's state of this host between commands.
type State struct {
	LockFile string         // held by the run that uses the host
	Runs     undo.Registry  // runs that may have changed the host
	Machines keep.Store     // machines of "vmtb vm"
	Labs     keep.Store     // DUTs of "vmtb lab start", "exec" and "shell"
	Warm     warm.Store     // saved states of booted machines, from which others start
	Boots    host.BootSlots // for all machines of this host, over all processes
	// Directory with the journal of "vmtb vf", which is in Runs like a run's journal.
	VFChanges string
}

// FromEnvironment returns the State of this host, or of the directory that [Variable] names.
func FromEnvironment() State {
	lockFile, dir := host.LockFile, Dir
	if own := os.Getenv(Variable); own != "" {
		if abs, err := filepath.Abs(own); err == nil { // a keeper has another working directory
			own = abs
		}
		lockFile, dir = filepath.Join(own, "vmtb.lock"), own
	}
	return In(lockFile, dir)
}

// In returns the State whose files are below dir.
func In(lockFile, dir string) State {
	return State{
		LockFile: lockFile, Runs: undo.Registry{Dir: filepath.Join(dir, "runs")},
		Machines:  keep.Store{Dir: filepath.Join(dir, "machines")},
		Labs:      keep.Store{Dir: filepath.Join(dir, "labs"), Prefix: "lab", Command: "vmtb lab", End: "stop"},
		Warm:      warm.Store{Dir: filepath.Join(dir, "warm")},
		Boots:     host.BootSlots{Dir: filepath.Join(dir, "boots")},
		VFChanges: filepath.Join(dir, "manual"),
	}
}
