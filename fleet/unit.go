package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"vmtb/flow"
	"vmtb/internal/flock"
	"vmtb/internal/procfs"
)

// Reasons to stop a running unit.
var (
	errFenced    = errors.New("another DUT has the unit now")
	errCancelled = errors.New("the run was cancelled")
	errDeadline  = errors.New("the run missed its deadline")
)

// mostLost is the number of DUTs that a unit may take down.
const mostLost = 2

// An attempt is the work of this DUT on a unit.
type attempt struct {
	Unit  unit   `json:"unit"`
	Reply string `json:"reply"` // subject to acknowledge the message; it works from any connection
	Claim claim  `json:"claim"`
	Boot  string `json:"boot_id"`

	revision uint64 // of the claim: the fencing token
	mu       sync.Mutex
	judged   bool
	streamed int // number of lines in the log: run.json, then the lines of the journal
}

func (s *attempt) claimKey() string { return "claim." + s.Unit.key() }
func (s *attempt) name() string {
	return fmt.Sprintf("%s.%d.%s", s.Unit.key(), s.Claim.Attempt, s.Claim.DUT)
}

func (s *attempt) late(now time.Time) bool {
	return !s.Unit.Deadline.IsZero() && now.After(s.Unit.Deadline)
}

func (a *agent) unitDir(s *attempt) string { return filepath.Join(a.spool, "units", s.Unit.key()) }
func (a *agent) runDir(s *attempt) string  { return filepath.Join(a.unitDir(s), "run") }

// take claims the unit in a message and runs it, unless it has a result or belongs to another DUT.
func (a *agent) take(ctx context.Context, m jetstream.Msg) error {
	var u unit
	if json.Unmarshal(m.Data(), &u) != nil || checkName("run", u.Run) != nil || checkName("unit", u.Name) != nil {
		a.log.Error("dropped a message that is not a unit", "subject", m.Subject())
		return m.Term()
	}
	_, done, err := get[result](ctx, a.bus, "result."+u.key())
	if done != nil {
		return m.DoubleAck(ctx)
	}
	c, e, claimErr := get[claim](ctx, a.bus, "claim."+u.key())
	if err = errors.Join(err, claimErr); err != nil {
		return errors.Join(err, m.NakWithDelay(a.beat()))
	}
	if e != nil && c.DUT != a.dut && c.DUT != "" {
		// After the engine was away, all claims look old. Their DUTs need time to extend them.
		settled := time.Since(time.Unix(0, a.up.Load())) >= min(a.lost()/4, time.Minute)
		if left := a.lost() - a.now().Sub(e.Created()); left > 0 || !settled {
			return m.NakWithDelay(max(left, a.beat()))
		}
		a.log.Warn("takes over the unit", "unit", u.title(), "from", c.DUT)
		c.Lost = append(c.Lost, c.DUT)
	}
	s := &attempt{Unit: u, Reply: m.Reply(), Boot: a.boot}
	s.Claim = claim{DUT: a.dut, Attempt: c.Attempt + 1, Lost: c.Lost}
	if s.revision, err = a.swap(ctx, s.claimKey(), e, s.Claim); err != nil {
		// After a conflict, the next delivery finds the other claim.
		return errors.Join(m.NakWithDelay(a.beat()), notConflict(err))
	}
	a.state.Unit = s
	if err := errors.Join(os.RemoveAll(filepath.Join(a.spool, "units")), a.save()); err != nil {
		return err
	}
	return a.perform(ctx, s)
}

// resume continues the attempt in the spool. If another DUT has the claim, resume runs nothing: it
// restores the host, and stores the run directory as an extra attempt.
func (a *agent) resume(ctx context.Context) error {
	s := a.state.Unit
	c, e, err := get[claim](ctx, a.bus, s.claimKey())
	if err != nil {
		return err
	}
	if c.DUT == a.dut && c.Attempt == s.Claim.Attempt {
		s.revision = e.Revision()
		a.log.Info("continues the unit", "unit", s.Unit.title(), "attempt", s.Claim.Attempt)
		return a.perform(ctx, s)
	}
	a.log.Warn("another DUT has the unit now: restores the host", "unit", s.Unit.title())
	stopped, stop := context.WithCancelCause(ctx)
	stop(errFenced)
	if err := a.waitRun(stopped, s); err != nil {
		return err
	}
	if flow.IsRunDir(a.runDir(s)) {
		if _, err := runVmtb(ctx, a.vmtb, "recover", a.runDir(s)); err != nil {
			return err
		}
	}
	return a.finish(ctx, s, flow.ExitError, "the DUT reconnected too late", true)
}

// perform runs or continues the unit and stores its result. [agent.heart] runs until then.
func (a *agent) perform(ctx context.Context, s *attempt) error {
	work, stop := context.WithCancelCause(ctx)
	alive, quiet := context.WithCancel(ctx)
	var heart sync.WaitGroup
	every := a.beat()
	heart.Go(func() { a.heart(alive, s, every, stop) })
	defer func() { quiet(); heart.Wait(); stop(nil) }()
	code, why, err := a.drive(work, s)
	switch {
	case errors.Is(context.Cause(work), errFenced):
		return nil // resume handles it in the next round
	case err != nil && a.state.Bad != "":
		quiet()
		heart.Wait() // heart and giveBack must not both change the claim
		return a.giveBack(ctx, s)
	case err != nil:
		return err
	}
	if !s.judged {
		a.judge(s, code)
	}
	return a.finish(ctx, s, code, why, false)
}

// heart extends the claim and the delivery, and sends the journal, until ctx ends. It calls stop
// when the work must end.
func (a *agent) heart(ctx context.Context, s *attempt, every time.Duration, stop context.CancelCauseFunc) {
	for next := time.Now(); ctx.Err() == nil; {
		if !time.Now().Before(next) {
			next = time.Now().Add(every)
			if err := a.pulse(ctx, s); err != nil {
				stop(err)
			}
		}
		_ = a.tell(ctx, s) // after an error, the next call sends the missing lines
		select {
		case <-ctx.Done():
		case <-a.poke:
			next = time.Now()
		case <-time.After(min(every, time.Second)):
		}
	}
}

// pulse does one heartbeat. It returns an error if the work must stop, but not if the engine does
// not answer.
func (a *agent) pulse(ctx context.Context, s *attempt) error {
	if !a.nc.IsConnected() {
		return nil
	}
	revision, err := a.kv.Update(ctx, s.claimKey(), encode(s.Claim), s.revision)
	if err == nil {
		s.revision = revision
	} else if notConflict(err) == nil { // perhaps an earlier write of this agent, without an answer
		c, e, err := get[claim](ctx, a.bus, s.claimKey())
		if err == nil && (c.DUT != a.dut || c.Attempt != s.Claim.Attempt) {
			return errFenced
		}
		if err == nil {
			s.revision = e.Revision()
		}
	}
	_ = a.nc.Publish(s.Reply, []byte("+WPI")) // after an error, the next heartbeat tries again
	_ = a.report(ctx, "running", "", s.Unit.title())
	if r, _, err := get[runInfo](ctx, a.bus, "run."+s.Unit.Run); err == nil && r.Cancelled {
		return errCancelled
	}
	if s.late(a.now()) {
		return errDeadline
	}
	return nil
}

// tell sends the lines of the journal that are not in the log yet. The engine drops lines that it
// has.
func (a *agent) tell(ctx context.Context, s *attempt) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	run, began := a.openRun(s)
	if !began {
		return nil
	}
	subject := fmt.Sprintf("log.%s.%s.%d", a.dut, s.Unit.key(), s.Claim.Attempt)
	for ; s.streamed <= len(run.Entries); s.streamed++ {
		line := encode(run.Info)
		if s.streamed > 0 {
			line = encode(run.Entries[s.streamed-1])
		}
		id := jetstream.WithMsgID(fmt.Sprintf("%s.%d", s.name(), s.streamed))
		if _, err := a.js.Publish(ctx, subject, append(line, '\n'), id); err != nil {
			return err
		}
	}
	return nil
}

// drive runs vmtb until the run in the spool has ended. It returns vmtb's exit code. If the run did
// not end by itself, why is the reason.
func (a *agent) drive(ctx context.Context, s *attempt) (code int, why string, err error) {
	if code, why := a.refuse(s); why != "" {
		return code, why, nil
	}
	const tries = 5
	for try := 0; try < tries; {
		if err := a.waitRun(ctx, s); err != nil {
			return 0, "", err
		}
		run, began := a.openRun(s)
		if began && run.Ended() {
			if end := run.Entries[len(run.Entries)-1].ExitCode; end != nil {
				return *end, "", nil
			}
			return flow.ExitError, "", nil
		}
		if why := stopped(ctx); why != "" {
			return flow.ExitInterrupted, why, nil
		}
		err := a.start(ctx, s, began)
		switch code := exitOf(err); {
		case ctx.Err() != nil: // the next iteration returns the reason
		case flow.IsRunDir(a.runDir(s)) || err == nil || code < 0:
			try++
		case code != flow.ExitError:
			return flow.ExitUsage, fmt.Sprintf("refused by %s: %v", a.dut, err), nil
		default:
			if err := a.waitHost(ctx, err); err != nil && ctx.Err() == nil {
				return 0, "", err
			}
		}
	}
	return flow.ExitError, fmt.Sprintf("vmtb died %d times", tries), nil
}

// stopped returns the reason for which ctx has ended, or "" if it has not ended.
func stopped(ctx context.Context) string {
	if cause := context.Cause(ctx); cause != nil {
		return cause.Error()
	}
	return ""
}

// start runs the unit, or resumes its run if that began.
func (a *agent) start(ctx context.Context, s *attempt, began bool) error {
	dir := a.runDir(s)
	if began {
		_, err := runVmtb(ctx, a.vmtb, "resume", dir)
		return err
	}
	if err := os.RemoveAll(dir); err != nil { // left by a vmtb that was killed before its run began
		return err
	}
	args := []string{"run", "--recover", "--run-dir=" + dir}
	for name, value := range s.Unit.Options {
		args = append(args, "--"+name+"="+value)
	}
	_, err := runVmtb(ctx, a.vmtb, append(append(args, "--"), s.Unit.IDs...)...)
	return err
}

// openRun reads the run directory. ok reports whether it could be read.
func (a *agent) openRun(s *attempt) (run *flow.RunDir, ok bool) {
	run, err := flow.OpenRun(a.runDir(s))
	return run, err == nil
}

// refuse returns why a unit must not run, or "" if it may run. A unit may have only options from
// the list. refuse does not check ids, because vmtb reads them after "--" as flows and refuses
// unknown ones.
func (a *agent) refuse(s *attempt) (code int, why string) {
	if len(s.Claim.Lost) >= mostLost {
		return flow.ExitError, "the unit made these DUTs fail: " + strings.Join(s.Claim.Lost, ", ")
	}
	if s.late(a.now()) {
		return flow.ExitError, errDeadline.Error()
	}
	for name, value := range s.Unit.Options {
		if !goodOption(name, value) {
			const format = "refused by %s: a unit may not have the option --%s=%s"
			return flow.ExitUsage, fmt.Sprintf(format, a.dut, name, value)
		}
	}
	if len(s.Unit.IDs) == 0 { // vmtb would run all flows
		return flow.ExitUsage, "refused by " + a.dut + ": the unit has no flows"
	}
	return 0, ""
}

// options are the flags of "vmtb run" that a unit may set.
var options = []string{"timeout-scale", "workload-scale", "rerun-failed", "repeat", "maxfail", "abort-on", "timeout"}

var optionForm = regexp.MustCompile(`^[a-z0-9,.-]{1,100}$`)

func goodOption(name, value string) bool {
	return slices.Contains(options, name) && optionForm.MatchString(value)
}

// waitRun waits until no vmtb uses the run directory. A vmtb may still use it after its agent was
// killed. The end of ctx interrupts that vmtb.
func (a *agent) waitRun(ctx context.Context, s *attempt) error {
	lock := filepath.Join(a.runDir(s), "lock")
	err := waitLock(ctx, lock)
	if err == nil || ctx.Err() == nil {
		return err
	}
	if run, ok := a.openRun(s); ok {
		if p, err := procfs.Read(run.Info.PID); err == nil && p.StartTime == run.Info.PIDStart {
			_ = syscall.Kill(run.Info.PID, syscall.SIGINT) // an error means that it has just ended
		}
	}
	return waitLock(context.WithoutCancel(ctx), lock)
}

// waitLock waits until no process has the file locked.
func waitLock(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return flock.WaitShared(ctx, f)
}

// waitHost waits until a vmtb that a person started on the DUT has ended. If there is none,
// waitHost marks the DUT as bad, because then only the DUT can be the reason.
func (a *agent) waitHost(ctx context.Context, reason error) error {
	lock := "/run/lock/vmtb.lock" // the lock of bench/host; importing it would make this program larger
	if dir := os.Getenv("VMTB_STATE_DIR"); dir != "" {
		lock = filepath.Join(dir, "vmtb.lock")
	}
	if f, err := os.Open(lock); err == nil {
		defer f.Close()
		if errors.Is(flock.Shared(f), flock.ErrInUse) {
			a.log.Info("waits for another vmtb on this DUT")
			return flock.WaitShared(ctx, f)
		}
	}
	a.bad("vmtb cannot start a run on this DUT: %v", reason)
	return reason
}

// judge marks the DUT as bad if the attempt shows that it is.
func (a *agent) judge(s *attempt, code int) {
	s.judged = true
	run, ok := a.openRun(s)
	if !ok {
		return
	}
	var sum flow.Summary
	for _, e := range run.Entries {
		sum.Add(e)
	}
	if code == flow.ExitError && sum.Counts[flow.Error] > 0 && sum.Counts[flow.Pass] == 0 {
		a.state.Errors++
	} else {
		a.state.Errors = 0
	}
	switch {
	case code == flow.ExitNotRestored:
		a.bad("%s left the host changed: %s", s.Unit.title(), sum.Unrestored)
	case a.state.Errors > 1:
		a.bad("errors in %d units in a row, the last in %s", a.state.Errors, s.Unit.title())
	case s.Boot != a.boot && a.health != "":
		a.bad("the DUT was booted during %s", s.Unit.title())
	}
}

// finish stores the run directory and the result, and acknowledges the message. After an error the
// caller calls it again later. With extra, the result is stored as an extra attempt.
func (a *agent) finish(ctx context.Context, s *attempt, code int, why string, extra bool) (err error) {
	r := result{Unit: s.Unit.Name, DUT: a.dut, Attempt: s.Claim.Attempt, Exit: code, Why: why}
	_ = a.tell(ctx, s) // an error does not matter: the run directory has all lines
	if r.Object, err = a.upload(ctx, s); err != nil {
		return fmt.Errorf("the result is not stored yet: store the run directory of %s: %w", s.Unit.title(), err)
	}
	first, e, err := get[result](ctx, a.bus, "result."+s.Unit.key())
	switch mine := first.DUT == r.DUT && first.Attempt == r.Attempt; {
	case err != nil || mine:
	case extra || e != nil:
		_, err = a.kv.Put(ctx, "extra."+s.name(), encode(r))
	default:
		_, err = a.kv.Create(ctx, "result."+s.Unit.key(), encode(r))
	}
	if err != nil {
		return fmt.Errorf("the result is not stored yet: %w", err)
	}
	if !extra { // if this ACK is lost, the next agent with the message finds the result
		_ = a.nc.Publish(s.Reply, []byte("+ACK"))
	}
	a.log.Info("done", "unit", s.Unit.title(), "attempt", s.Claim.Attempt, "exit", code)
	return a.forget(s)
}

// forget deletes the attempt from the spool.
func (a *agent) forget(s *attempt) error {
	a.state.Unit = nil
	return errors.Join(a.save(), os.RemoveAll(a.unitDir(s)))
}

// upload stores the run directory of an attempt and returns the name of the object, or "" if there
// is no run directory. Each call makes a new object, because a DUT may not delete objects.
func (a *agent) upload(ctx context.Context, s *attempt) (name string, err error) {
	if !flow.IsRunDir(a.runDir(s)) {
		return "", nil
	}
	name = s.name() + "." + strconv.FormatInt(a.now().UnixNano(), 36)
	ctx, cancel := context.WithTimeout(ctx, a.lost())
	defer cancel()
	in, out := io.Pipe()
	go func() { out.CloseWithError(pack(a.runDir(s), out)) }()
	_, err = a.objects.Put(ctx, jetstream.ObjectMeta{Name: name}, in)
	in.CloseWithError(err) // without it, pack waits for ever after an error
	return name, err
}

// giveBack releases a unit that this DUT cannot start.
func (a *agent) giveBack(ctx context.Context, s *attempt) error {
	c := s.Claim
	c.DUT = ""
	if _, err := a.kv.Update(ctx, s.claimKey(), encode(c), s.revision); err != nil {
		return err
	}
	_ = a.nc.Publish(s.Reply, []byte("-NAK")) // without it, the message comes back only when the lease lapses
	a.wake()
	return a.forget(s)
}
