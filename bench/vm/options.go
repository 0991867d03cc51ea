package vm

import (
	"time"

	"vmtb/bench/undo"
)

// Options say where and how a machine is run. The zero value works; a caller that wants to see what
// happened sets Dir.
type Options struct {
	// Dir is the machine's folder, made if it is missing: argv, console.log, stderr.log, qmp.jsonl
	// and qga.jsonl stay there. "" is the private directory, and they go with the machine.
	Dir string

	// WorkDir is the directory below which overlays get their private directory, /var/tmp when
	// empty. What the guest writes ends up there, up to the whole size of its disks, so it is
	// better not a tmpfs: that is memory.
	WorkDir string

	// SocketDir is the directory below which sockets get their private directory; the path must be
	// short. "" is /run/vmtb for root, else a place that the user may write to.
	SocketDir string

	Mode     Mode
	Boot     time.Duration // what WaitReady waits, 3 minutes when 0
	Shutdown time.Duration // what a guest gets to shut down when its agent asks for it, 1 minute when 0
	// multiplies these and every other deadline, 1 when 0; emulation (TCG) multiplies by 5 on top
	Scale float64

	// Journal is told, before it happens, of each directory that is about to be made outside Dir,
	// and of QEMU as soon as it runs: (*undo.Log).Add. Its error ends Start. The guard makes it
	// unnecessary unless both vmtb and the guard die.
	Journal func(undo.Record) error

	// Roster, unless nil, gets to know the machine while it lives.
	Roster *Roster

	// GuardArgv starts a program whose main calls guard.Run first; the guard's arguments are
	// appended. nil is this program.
	GuardArgv []string
}

const tcgFactor = 5

func (o Options) withDefaults() Options {
	if o.WorkDir == "" {
		o.WorkDir = "/var/tmp"
	}
	if o.Boot == 0 {
		o.Boot = powerOn.Limit
	}
	if o.Shutdown == 0 {
		o.Shutdown = time.Minute
	}
	if o.Scale == 0 {
		o.Scale = 1
	}
	if o.GuardArgv == nil {
		o.GuardArgv = []string{"/proc/self/exe"} // this very program, even if its file has been replaced since
	}
	if o.Journal == nil {
		o.Journal = func(undo.Record) error { return nil }
	}
	return o
}
