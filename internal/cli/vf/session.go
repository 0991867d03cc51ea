package vf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/undo"
	"vmtb/bench/xe"
	"vmtb/flow"
	"vmtb/internal/ansi"
	"vmtb/internal/cli/env"
	"vmtb/internal/hoststate"
	"vmtb/internal/pick"
)

// A session is a "vmtb vf" command whose changes of the host outlast it. All these commands share
// one journal, which is undone as a whole. A later command may depend on the changes of an earlier
// one, for instance on the driver of all GPUs.
type session struct {
	*env.Env
	host *host.Host
	log  *hoststate.Journal
}

// inSession calls do while it holds the lock of this host. The changes of do stay, unless do fails:
// then they are undone.
func inSession(ctx context.Context, e *env.Env, do func(context.Context, *session) error) error {
	unlock, err := host.Lock(e.State.LockFile)
	if err != nil {
		return err
	}
	defer unlock()
	if err := checkNoDeadRuns(e); err != nil {
		return err
	}
	s, err := openSession(e)
	if err != nil {
		return &bench.InfraError{Op: "open the journal", Err: err}
	}
	mark := s.log.Mark()
	if err = do(ctx, s); err != nil {
		err = s.undoSince(ctx, mark, err)
	}
	if closeErr := s.log.Close(); closeErr != nil {
		err = errors.Join(err, &bench.InfraError{Op: "close the journal", Err: closeErr})
	}
	return err
}

// checkNoDeadRuns returns an error if a dead run has left this host changed. Changes made by "vmtb
// vf" are no error.
func checkNoDeadRuns(e *env.Env) error {
	dead, err := e.State.DeadRuns(e.Err)
	dead = slices.DeleteFunc(dead, e.State.HasVFChanges)
	if err != nil || len(dead) == 0 {
		return err
	}
	return hoststate.Obstacle(dead, `"vmtb recover" undoes it`)
}

func openSession(e *env.Env) (*session, error) {
	if err := os.MkdirAll(e.State.VFChanges, 0o755); err != nil {
		return nil, err
	}
	log, err := e.State.OpenJournal(e.System, filepath.Join(e.State.VFChanges, flow.UndoFile))
	return &session{e, host.New(e.System), log}, err
}

// undoTime limits how long a command that failed or was interrupted may undo its changes.
const undoTime = 2 * time.Minute

// undoSince undoes the changes of a command that failed with err. It returns the command's error.
func (s *session) undoSince(ctx context.Context, m undo.Mark, err error) error {
	if s.log.Mark() == m {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	s.UndoSince(ctx, s.log.Log, m, s.Err)
	left := slices.ContainsFunc(s.log.Pending(), func(e undo.Entry) bool { return e.ID > int(m) })
	if !left {
		return err
	}
	const format = "vmtb: %s\nvmtb: the host is not restored (\"vmtb vf disable\" tries again)\n"
	fmt.Fprintf(s.Err, format, ansi.Printable(err.Error()))
	return env.ExitCode(flow.ExitNotRestored)
}

// step calls do, which may take a while, and shows the step meanwhile.
func (s *session) step(name string, do func() error) error { return s.Step("vf", name, do) }

// findPF finds the configured PF.
func (s *session) findPF(c bench.HostConfig) (*xe.PF, error) {
	return xe.FindPF(s.host.Tree(s.log), pick.GPU(c))
}

// hasEnabled reports whether an earlier command recorded in the session's journal has enabled the
// VFs of a PF, in this boot.
func (s *session) hasEnabled(pf *xe.PF) bool {
	return slices.ContainsFunc(s.log.Pending(), func(e undo.Entry) bool {
		of, ok := hoststate.EnabledVFsOf(e)
		return ok && of == pf.Address
	})
}
