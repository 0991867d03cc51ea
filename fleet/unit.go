package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"

	"vmtb/flow"
)

// Why a unit that runs is to stop.
var (
	errFenced    = errors.New("another DUT has the unit now")
	errCancelled = errors.New("the run was cancelled")
	errDeadline  = errors.New("the run missed its deadline")
)

// toStop reports whether the work of ctx is to stop in order. When the agent itself ends, vmtb is
// left alone.
func toStop(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return errors.Is(cause, errFenced) || errors.Is(cause, errCancelled) || errors.Is(cause, errDeadline)
}

func over(ctx context.Context) bool { return ctx.Err() != nil }

// mostLost is how many DUTs a unit may take down.
const mostLost = 2

// A spooledUnit is what an agent must know of a unit when it comes back after a crash.
type spooledUnit struct {
	Unit  unit   `json:"unit"`
	Reply string `json:"reply"` // acknowledges the message, also from another connection
	Claim claim  `json:"claim"`
	Boot  string `json:"boot_id"`

	rev uint64 // of the claim: the fencing token
}

func (a *agent) unitDir(key string) string    { return filepath.Join(a.spool, "units", key) }
func (a *agent) runDir(s *spooledUnit) string { return filepath.Join(a.unitDir(s.Unit.key()), "run") }

func (s *spooledUnit) object(dut string) string {
	return fmt.Sprintf("%s.%d.%s", s.Unit.key(), s.Claim.Attempt, dut)
}

// take claims the unit in a message and runs it, unless it has a result or belongs to another DUT.
func (a *agent) take(ctx context.Context, m jetstream.Msg) error {
	var u unit
	if err := json.Unmarshal(m.Data(), &u); err != nil || checkName("run", u.Run) != nil || checkName("unit", u.Name) != nil {
		a.log.Error("dropped a message that is no unit", "subject", m.Subject())
		return m.Term()
	}
	if _, _, ok, err := get[result](ctx, a.results, u.key()); err != nil || ok {
		if err != nil {
			return errors.Join(err, m.NakWithDelay(a.beat()))
		}
		return m.DoubleAck(ctx)
	}
	c, e, known, err := get[claim](ctx, a.claims, u.key())
	if err != nil {
		return errors.Join(err, m.NakWithDelay(a.beat()))
	}
	if known && c.DUT != a.dut && c.DUT != "" {
		if left := a.lost() - a.serverAge(e); left > 0 || !a.steady() {
			return m.NakWithDelay(max(left, a.beat()))
		}
		a.log.Warn("takes over", "unit", u.title(), "from", c.DUT)
		c.Lost = append(c.Lost, c.DUT)
	}
	s := &spooledUnit{Unit: u, Reply: m.Reply(), Boot: a.boot}
	s.Claim = claim{DUT: a.dut, Attempt: c.Attempt + 1, Lost: c.Lost}
	if known {
		s.rev, err = a.claims.Update(ctx, u.key(), encode(s.Claim), e.Revision())
	} else {
		s.rev, err = a.claims.Create(ctx, u.key(), encode(s.Claim))
	}
	if err != nil { // another was faster, or the answer is lost: whoever gets the message next sees
		return errors.Join(m.NakWithDelay(a.beat()), notConflict(err))
	}
	if err := a.save(s); err != nil {
		return err
	}
	return a.perform(ctx, s)
}

// notConflict is err, unless it says that somebody else has written the value meanwhile.
func notConflict(err error) error {
	if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return nil
	}
	return err
}

func (a *agent) save(s *spooledUnit) error {
	dir := a.unitDir(s.Unit.key())
	err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755))
	if err == nil {
		err = errors.Join(writeFile(filepath.Join(dir, "unit.json"), encode(s), 0o644), syncDir(filepath.Dir(dir)))
	}
	return err
}

// spooled goes on with a unit that was in flight when the agent, or its DUT, went down. done says
// that there was one.
func (a *agent) spooled(ctx context.Context) (done bool, err error) {
	names, err := filepath.Glob(filepath.Join(a.spool, "units", "*"))
	if err != nil || len(names) == 0 {
		return false, err
	}
	s := &spooledUnit{}
	data, err := os.ReadFile(filepath.Join(names[0], "unit.json"))
	if err == nil {
		err = json.Unmarshal(data, s)
	}
	if err != nil { // it died before the unit began
		return true, os.RemoveAll(names[0])
	}
	c, e, _, err := get[claim](ctx, a.claims, s.Unit.key())
	if err != nil {
		return false, err
	}
	if c.DUT != a.dut || c.Attempt != s.Claim.Attempt {
		return true, a.tooLate(ctx, s)
	}
	s.rev = e.Revision()
	a.log.Info("goes on with", "unit", s.Unit.title(), "attempt", s.Claim.Attempt)
	return true, a.perform(ctx, s)
}

// tooLate puts the host back after an attempt that lost its lease, and keeps what there is of it.
// It runs nothing.
func (a *agent) tooLate(ctx context.Context, s *spooledUnit) error {
	a.log.Warn("another DUT has the unit now: this one puts itself back", "unit", s.Unit.title())
	dir := a.runDir(s)
	if run, err := flow.OpenRun(dir); err == nil {
		if run.Alive {
			_ = unix.Kill(run.Info.PID, unix.SIGINT) // it may end just now
			if err := waitLock(ctx, filepath.Join(dir, "lock")); err != nil {
				return err
			}
		}
		if _, err := a.vmtbRun(ctx, nil, "recover", dir); err != nil {
			return err
		}
	}
	r := a.result(s, 3, "the DUT came back too late")
	if err := a.upload(ctx, s, &r); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if _, err := a.results.Put(ctx, "extra."+s.object(a.dut), encode(r)); err != nil {
		return err
	}
	return os.RemoveAll(a.unitDir(s.Unit.key()))
}

// perform runs the unit, or goes on with it, and brings its run directory home.
func (a *agent) perform(ctx context.Context, s *spooledUnit) error {
	work, stop := context.WithCancelCause(ctx)
	beats := make(chan struct{})
	alive, quiet := context.WithCancel(ctx) // the heart beats until the message is acknowledged
	every := a.beat()
	go func() { defer close(beats); a.heart(alive, s, every, stop) }()
	defer func() { quiet(); <-beats; stop(nil) }()
	code, why, err := a.drive(work, s)
	switch {
	case ctx.Err() != nil || errors.Is(context.Cause(work), errFenced):
		return nil // the spool knows
	case err != nil && a.state.Bad != "":
		quiet()
		<-beats // the claim is this goroutine's alone
		return a.giveBack(ctx, s)
	case err != nil:
		return err
	}
	a.judge(s, code)
	for {
		err := a.finish(ctx, s, code, why)
		if err == nil || ctx.Err() != nil || errors.Is(context.Cause(work), errFenced) {
			return nil
		}
		a.log.Warn("the result is not home yet", "unit", s.Unit.title(), "error", err)
		select {
		case <-work.Done(): // fenced, or cancelled while it ended
		case <-ctx.Done():
		case <-time.After(a.beat()):
		}
	}
}

// heart extends the claim and the delivery until ctx ends, and stops the work when it must not go
// on.
func (a *agent) heart(ctx context.Context, s *spooledUnit, every time.Duration, stop context.CancelCauseFunc) {
	for {
		if err := a.pulse(ctx, s); err != nil {
			stop(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-a.poke:
		case <-time.After(every):
		}
	}
}

// pulse is one sign of life. Its error says why the work is to stop; an engine that is away is no
// reason.
func (a *agent) pulse(ctx context.Context, s *spooledUnit) error {
	tctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	rev, err := a.claims.Update(tctx, s.Unit.key(), encode(s.Claim), s.rev)
	switch {
	case err == nil:
		s.rev = rev
	case notConflict(err) == nil: // perhaps our own write, whose answer was lost
		c, e, _, err := get[claim](ctx, a.claims, s.Unit.key())
		if err == nil && (c.DUT != a.dut || c.Attempt != s.Claim.Attempt) {
			return errFenced
		}
		if err == nil {
			s.rev = e.Revision()
		}
	}
	if !a.nc.IsConnected() {
		return nil
	}
	_ = a.nc.Publish(s.Reply, []byte("+WPI")) // the next one may get through
	if err := a.hello(ctx, "running", "", s.Unit.title()); err != nil {
		return nil
	}
	if r, _, ok, err := get[runInfo](ctx, a.runs, s.Unit.Run); err == nil && ok && r.State == stateCancelled {
		return errCancelled
	}
	if d := s.Unit.Deadline; !d.IsZero() && a.now().After(d) {
		return errDeadline
	}
	return nil
}

// drive runs vmtb until the run in the spool has come to its end. The result is vmtb's exit code,
// and why it is no proper one.
func (a *agent) drive(ctx context.Context, s *spooledUnit) (code int, why string, err error) {
	if code, why, err := a.refuse(ctx, s); why != "" || err != nil {
		return code, why, err
	}
	dir := a.runDir(s)
	const tries = 5
	for try := 0; try < tries; try++ {
		code, why, done, err := a.settle(ctx, s, dir)
		if done || err != nil {
			return code, why, err
		}
		line := func(text []byte) { a.publish(s, text) }
		code, err = a.vmtbRun(ctx, line, a.argv(s, flow.IsRunDir(dir))...)
		if code < 0 || flow.IsRunDir(dir) { // it was killed, or has begun: look what there is
			continue
		}
		if code != flow.ExitError {
			return code, fmt.Sprintf("vmtb did not begin: %v", err), nil
		}
		if err := a.waitHost(ctx, err); err != nil && !over(ctx) {
			return 0, "", err
		}
		try--
	}
	return flow.ExitError, fmt.Sprintf("vmtb died %d times", tries), nil
}

// settle waits for a run in dir that is not this process's child. It is done if the run has ended,
// or is not to go on.
func (a *agent) settle(ctx context.Context, s *spooledUnit, dir string) (code int, why string, done bool, err error) {
	for {
		run, openErr := flow.OpenRun(dir)
		began := openErr == nil
		switch {
		case began && run.Alive: // only the agent had died: the run goes on without it
			if err := a.follow(ctx, run, dir); err != nil {
				return 0, "", false, err
			}
			continue
		case began && run.Ended():
			a.catchUp(s, run)
			return exitOf(run), "", true, nil
		case over(ctx): // if the agent itself ends, its caller knows
			return flow.ExitInterrupted, context.Cause(ctx).Error(), true, nil
		case !began:
			return 0, "", false, emptied(ctx, dir)
		}
		return 0, "", false, nil
	}
}

// emptied removes what a vmtb has left in dir that was killed before its run began. One that is
// about to begin is waited for.
func emptied(ctx context.Context, dir string) error {
	if err := waitLock(ctx, filepath.Join(dir, "lock")); err != nil || flow.IsRunDir(dir) {
		return err
	}
	return os.RemoveAll(dir)
}

// refuse says why a unit is not to be run at all; why is "" if it is. The error says that this is
// not known yet.
func (a *agent) refuse(ctx context.Context, s *spooledUnit) (code int, why string, err error) {
	if len(s.Claim.Lost) >= mostLost {
		return flow.ExitError, "took down " + strings.Join(s.Claim.Lost, ", "), nil
	}
	if d := s.Unit.Deadline; !d.IsZero() && a.now().After(d) {
		return flow.ExitError, errDeadline.Error(), nil
	}
	out, err := a.ask(ctx, "list", "--json")
	var known []flow.Item
	if err == nil {
		err = json.Unmarshal(out, &known)
	}
	if err != nil {
		return 0, "", err // vmtb was killed, perhaps
	}
	if why := wrong(s.Unit, known); why != "" {
		return flow.ExitUsage, "refused by " + a.dut + ": " + why, nil
	}
	return 0, "", nil
}

// exitOf is the exit code of a run that has ended.
func exitOf(run *flow.RunDir) int {
	if code := run.Entries[len(run.Entries)-1].ExitCode; code != nil {
		return *code
	}
	return flow.ExitError
}

// argv is the command that begins the unit, or goes on with it.
func (a *agent) argv(s *spooledUnit, resume bool) []string {
	if resume {
		return []string{"resume", "--json", "--recover", a.runDir(s)}
	}
	argv := []string{"run", "--json", "--recover", "--run-dir=" + a.runDir(s)}
	for _, name := range slices.Sorted(maps.Keys(s.Unit.Options)) {
		argv = append(argv, "--"+name+"="+s.Unit.Options[name])
	}
	return append(append(argv, "--"), s.Unit.IDs...)
}

// follow waits for the end of a run that is not this process's child, and stops it when ctx says
// so.
func (a *agent) follow(ctx context.Context, run *flow.RunDir, dir string) error {
	err := waitLock(ctx, filepath.Join(dir, "lock"))
	if err == nil || !toStop(ctx) {
		return err
	}
	_ = unix.Kill(run.Info.PID, unix.SIGINT) // it may end just now
	return waitLock(context.WithoutCancel(ctx), filepath.Join(dir, "lock"))
}

// waitHost waits until the vmtb that somebody runs by hand has ended. If none runs, the DUT itself
// is the reason, and broken.
func (a *agent) waitHost(ctx context.Context, reason error) error {
	lock := filepath.Join(os.Getenv("VMTB_STATE_DIR"), "vmtb.lock")
	if os.Getenv("VMTB_STATE_DIR") == "" {
		lock = "/run/lock/vmtb.lock"
	}
	if locked(lock) {
		a.log.Info("waits for another vmtb on this DUT")
		return waitLock(ctx, lock)
	}
	a.bad("vmtb does not begin here: %v", reason)
	return reason
}

// options are the flags of vmtb run that a unit may give.
var options = []string{"timeout-scale", "workload-scale", "rerun-failed", "repeat", "maxfail", "abort-on", "timeout"}

var optionForm = regexp.MustCompile(`^[a-z0-9,.-]{1,100}$`)

// wrong says what is wrong with a unit; "" if nothing is. It may have ids that this DUT's vmtb knows,
// and options from the list: who submits names flows, and nothing else.
func wrong(u unit, known []flow.Item) string {
	for name, value := range u.Options {
		if !slices.Contains(options, name) || !optionForm.MatchString(value) {
			return fmt.Sprintf("the option --%s=%s is not one that a unit may have", name, value)
		}
	}
	for _, id := range u.IDs {
		if !slices.ContainsFunc(known, func(it flow.Item) bool { return it.Name == id }) {
			return fmt.Sprintf("its vmtb has no flow %q", id)
		}
	}
	if len(u.IDs) == 0 {
		return "the unit has no flows"
	}
	return ""
}

// judge takes the DUT out if what it did shows that it is broken.
func (a *agent) judge(s *spooledUnit, code int) {
	run, err := flow.OpenRun(a.runDir(s))
	if err != nil {
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
	a.saveState()
	switch {
	case code == flow.ExitNotRestored:
		a.bad("%s left the host changed: %s", s.Unit.title(), sum.Unrestored)
	case a.state.Errors > 1:
		a.bad("errors in %d units, one after the other, the last in %s", a.state.Errors, s.Unit.title())
	case s.Boot != a.boot && a.health != "":
		a.bad("it was booted in %s", s.Unit.title())
	}
}

func (a *agent) result(s *spooledUnit, code int, why string) result {
	return result{Unit: s.Unit.Name, DUT: a.dut, Attempt: s.Claim.Attempt, Exit: code, Why: why, At: a.now()}
}

// finish brings the run directory home, says so, and acknowledges the message. It may be done
// again.
func (a *agent) finish(ctx context.Context, s *spooledUnit, code int, why string) error {
	r := a.result(s, code, why)
	if err := a.upload(ctx, s, &r); err != nil {
		return err
	}
	tctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	_, err := a.results.Create(tctx, s.Unit.key(), encode(r))
	if errors.Is(err, jetstream.ErrKeyExists) {
		var first result
		if first, _, _, err = get[result](ctx, a.results, s.Unit.key()); err == nil && (first.DUT != r.DUT || first.Attempt != r.Attempt) {
			_, err = a.results.Put(tctx, "extra."+s.object(a.dut), encode(r))
		}
	}
	if err != nil {
		return err
	}
	// A server that was restarted may not know the delivery any more: whoever gets the message next
	// finds the result.
	if _, err := a.nc.RequestWithContext(tctx, s.Reply, []byte("+ACK")); err != nil && !a.nc.IsConnected() {
		return err
	}
	a.log.Info("done", "unit", s.Unit.title(), "attempt", s.Claim.Attempt, "exit", code)
	return os.RemoveAll(a.unitDir(s.Unit.key()))
}

// giveBack lets go of a unit that this DUT cannot begin.
func (a *agent) giveBack(ctx context.Context, s *spooledUnit) error {
	c := s.Claim
	c.DUT = ""
	if err := os.RemoveAll(a.unitDir(s.Unit.key())); err != nil {
		return err
	}
	if _, err := a.claims.Update(ctx, s.Unit.key(), encode(c), s.rev); err != nil {
		return err
	}
	err := a.nc.Publish(s.Reply, []byte("-NAK"))
	a.wake()
	return err
}
