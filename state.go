package vmtb

import (
	"os"
	"path/filepath"

	"vmtb/bench/host"
	"vmtb/bench/undo"
)

// stateVariable names a directory that takes the place of those below, for tests and for those who may not write there.
const stateVariable = "VMTB_STATE_DIR"

// stateDir is where vmtb keeps what outlives a run and a reboot (FHS 3.0, 5.8).
const stateDir = "/var/lib/vmtb"

// A state is what vmtb knows about this host from one run to the next.
type state struct {
	lockFile string        // held by the run that uses the host
	runs     undo.Registry // those that may have changed the host and not put it back
}

func hostState() state {
	s := state{host.LockFile, undo.Registry{Dir: filepath.Join(stateDir, "runs")}}
	if dir := os.Getenv(stateVariable); dir != "" {
		s = state{filepath.Join(dir, "vmtb.lock"), undo.Registry{Dir: filepath.Join(dir, "runs")}}
	}
	return s
}
