package vmtb

import (
	"os"
	"path/filepath"

	"vmtb/bench/host"
	"vmtb/bench/keep"
	"vmtb/bench/undo"
	"vmtb/bench/vm/warm"
)

// stateVariable names a directory that takes the place of those below, for tests and for those who may not write there.
const stateVariable = "VMTB_STATE_DIR"

// stateDir is where vmtb keeps what outlives a run and a reboot (FHS 3.0, 5.8).
const stateDir = "/var/lib/vmtb"

// A state is what vmtb knows about this host from one run to the next.
type state struct {
	lockFile string        // held by the run that uses the host
	runs     undo.Registry // those that may have changed the host and not put it back
	machines keep.Store    // those of "vmtb vm"
	labs     keep.Store    // DUTs of "vmtb lab start", "exec" and "shell"
	states   warm.Store    // of machines that have booted, for others to go on from
	manual   string        // directory with the journal of what "vmtb vf" has changed, in the registry like a run's
}

func hostState() state {
	lockFile, dir := host.LockFile, stateDir
	if own := os.Getenv(stateVariable); own != "" {
		if abs, err := filepath.Abs(own); err == nil { // a keeper has a working directory of its own
			own = abs
		}
		lockFile, dir = filepath.Join(own, "vmtb.lock"), own
	}
	return stateIn(lockFile, dir)
}

func stateIn(lockFile, dir string) state {
	return state{
		lockFile: lockFile, runs: undo.Registry{Dir: filepath.Join(dir, "runs")},
		machines: keep.Store{Dir: filepath.Join(dir, "machines")},
		labs:     keep.Store{Dir: filepath.Join(dir, "labs"), Prefix: "lab", Command: "vmtb lab", End: "stop"},
		states:   warm.Store{Dir: filepath.Join(dir, "warm")},
		manual:   filepath.Join(dir, "manual"),
	}
}
