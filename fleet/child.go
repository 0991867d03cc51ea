package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"

	"vmtb/flow"
)

// interruptTime is what vmtb is given to put the host back after SIGINT.
const interruptTime = 10 * time.Minute

// vmtbRun runs vmtb. Each line that it prints goes to line, if that is not nil. When ctx ends with
// a cause of ours, vmtb is interrupted and ends in order; when the agent itself ends, vmtb is left
// alone. The error says what vmtb said if its exit code is not 0.
func (a *agent) vmtbRun(ctx context.Context, line func([]byte), args ...string) (code int, err error) {
	argv := append(slices.Clone(a.vmtb), args...)
	cmd := exec.Command(argv[0], argv[1:]...)          //nolint:noctx // it outlives the agent
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true} // what interrupts the agent does not interrupt it
	said := &tail{}
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return flow.ExitError, err
	}
	if err := cmd.Start(); err != nil {
		return flow.ExitError, err
	}
	ended := make(chan error, 1)
	go func() {
		in := bufio.NewReader(out)
		for {
			text, err := in.ReadBytes('\n')
			if line != nil && bytes.HasSuffix(text, []byte("\n")) {
				line(text)
			}
			if err != nil {
				break
			}
		}
		ended <- cmd.Wait()
	}()
	select {
	case err = <-ended:
	case <-ctx.Done():
		if !toStop(ctx) {
			return flow.ExitError, context.Cause(ctx)
		}
		_ = cmd.Process.Signal(os.Interrupt) // it may end just now
		select {
		case err = <-ended:
		case <-time.After(interruptTime):
			_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
			err = <-ended
		}
	}
	if err == nil {
		return 0, nil
	}
	return cmd.ProcessState.ExitCode(), fmt.Errorf("%w: %s", err, said)
}

// A tail keeps the end of what is written to it.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	const most = 4 << 10
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-most):]
	return len(p), nil
}

func (t *tail) String() string {
	return strings.TrimSpace(strings.ToValidUTF8(string(t.text), "\uFFFD"))
}

// publish sends a line of the journal, or run.json as one line, to who watches. One that is lost
// comes with the run directory.
func (a *agent) publish(s *spooledUnit, line []byte) {
	var head struct {
		Seq int `json:"seq"`
	}
	if json.Unmarshal(line, &head) != nil {
		return
	}
	m := nats.NewMsg(fmt.Sprintf("log.%s.%s.%d", a.dut, s.Unit.key(), s.Claim.Attempt))
	m.Header.Set(nats.MsgIdHdr, fmt.Sprintf("%s.%d", s.object(a.dut), head.Seq))
	m.Data = line
	_ = a.nc.PublishMsg(m) // see above
}

// catchUp sends all of a run's journal again: the engine drops what it has.
func (a *agent) catchUp(s *spooledUnit, run *flow.RunDir) {
	a.publish(s, append(encode(run.Info), '\n'))
	for e, err := range run.All() {
		if err != nil {
			a.log.Warn("cannot send the journal to its end", "unit", s.Unit.title(), "error", err)
			return
		}
		a.publish(s, append(encode(e), '\n'))
	}
}

// lockFile locks a file for this process alone, or says at once that another has it.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// locked reports whether another process has the file locked.
func locked(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// waitLock waits until nobody has the file locked. flock(2) cannot be interrupted in Go, so another
// process waits in it: that one can be ended with ctx.
func waitLock(ctx context.Context, path string) error {
	if !locked(path) {
		return nil
	}
	cmd := exec.CommandContext(ctx, "flock", "--shared", path, "true")
	err := cmd.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// upload stores the run directory of an attempt, if it has one. r gets the name of the object.
func (a *agent) upload(ctx context.Context, s *spooledUnit, r *result) error {
	dir := a.runDir(s)
	if !flow.IsRunDir(dir) {
		return nil
	}
	name := s.object(a.dut) + "." + strconv.FormatInt(a.now().UnixNano(), 36) // replacing one takes rights that no DUT has
	ctx, cancel := context.WithTimeout(ctx, a.lost())
	defer cancel()
	in, out := io.Pipe()
	go func() { out.CloseWithError(pack(dir, out)) }()
	_, err := a.objects.Put(ctx, jetstream.ObjectMeta{Name: name}, in)
	in.CloseWithError(err) // else the packer waits for ever
	if err != nil {
		return fmt.Errorf("store the run directory %s: %w", filepath.Base(filepath.Dir(dir)), err)
	}
	r.Object = name
	return nil
}
