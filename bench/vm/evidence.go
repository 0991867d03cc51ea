package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"vmtb/bench/qmp"
	"vmtb/internal/prose"
)

// EvidenceOptions say what evidence is for.
type EvidenceOptions struct {
	Why    string // goes into summary.txt
	Memory bool   // the guest's memory, too: a file of up to its size, and the guest stands still meanwhile
}

// evidenceTime is what each piece of evidence may take, scaled. The guest's memory has its own.
const evidenceTime = 10 * time.Second

// errMute is why a piece of evidence was not even asked for.
var errMute = errors.New("left out: QEMU's monitor has stopped answering")

// Evidence writes down what can be learned of a machine: its screen, its console, its memory, QEMU.
type Evidence struct {
	life      *life
	qmp       *qmp.Client
	states    *states
	logs      *logs
	pid       int // of QEMU
	memoryMiB int // of the guest
}

// Collect writes down what can still be learned of a machine that has stopped answering, before it
// is ended, in a new folder evidence-1 (2, ...) of the machine's folder, and returns that:
//
//	summary.txt    why, when, and what became of each of the others
//	threads.txt    state, wchan and kernel stack of QEMU's threads
//	console.txt    the end of the console
//	state.json     QEMU's answers to query-status and other queries
//	screen.png     the screen, if the machine has one
//	registers.txt  those of all CPUs
//	memory.dump    the guest's memory, if it was asked for: a file for crash(8)
//
// Each has [evidenceTime] (scaled) and does not need the others; but once QEMU's monitor is silent
// it is not asked again, and threads-mute.txt shows where QEMU hangs. The error is for a folder
// that cannot be written; what is missing is in the summary.
func (e *Evidence) Collect(ctx context.Context, o EvidenceOptions) (dir string, err error) {
	if dir, err = e.folder(); err != nil {
		return "", infra(e.life.String()+": make a folder for evidence", err)
	}
	c := collector{dir: dir}
	fmt.Fprintf(&c.summary, "%s, %s\n%s\n\n", e.life, time.Now().UTC().Format(time.RFC3339), o.Why)
	limit := e.life.scaled(evidenceTime)
	c.take(ctx, "threads.txt", limit, e.saveThreads)
	c.take(ctx, "console.txt", limit, e.saveConsole)
	c.collect(ctx, "state.json", limit, e.saveState)
	c.collect(ctx, "screen.png", limit, e.Screenshot)
	// Late: with KVM it waits for a CPU that hangs in the kernel.
	c.collect(ctx, "registers.txt", limit, e.saveRegisters)
	if o.Memory {
		c.collect(ctx, "memory.dump", e.dumpTime(), e.saveMemory)
	}
	if c.mute {
		c.take(ctx, "threads-mute.txt", limit, e.saveThreads)
	}
	return dir, infra(
		e.life.String()+": write evidence", os.WriteFile(filepath.Join(dir, "summary.txt"), c.summary.Bytes(), 0o644),
	)
}

// addTo collects evidence for err and adds where it is.
func (e *Evidence) addTo(ctx context.Context, err error) error {
	dir, failed := e.Collect(ctx, EvidenceOptions{Why: err.Error()})
	if failed != nil {
		return fmt.Errorf("%w (no evidence: %w)", err, failed)
	}
	return fmt.Errorf("%w (evidence: %s)", err, dir)
}

// beforeForce collects evidence of a machine that should have heeded: its guest runs, or QEMU does
// not even say.
func (e *Evidence) beforeForce(ctx context.Context) {
	if ctx.Err() != nil || e.life.over() { // no time, or no answer to expect
		return
	}
	asked, cancel := context.WithTimeout(ctx, e.life.scaled(stateTime))
	defer cancel()
	if s, err := e.states.now(asked); err == nil && s != Running {
		return
	}
	// without it, the end comes all the same
	_, _ = e.Collect(ctx, EvidenceOptions{Why: "the guest did not shut down when asked"})
}

// folder makes the next folder.
func (e *Evidence) folder() (string, error) {
	for n := 1; ; n++ {
		dir := e.logs.path(fmt.Sprintf("evidence-%d", n))
		if err := os.Mkdir(dir, 0o755); !errors.Is(err, fs.ErrExist) {
			return dir, err
		}
	}
}

// A collector takes one piece of evidence after the other.
type collector struct {
	dir     string
	mute    bool // QEMU's monitor did not answer
	summary bytes.Buffer
}

// A saver writes a piece of evidence to a file.
type saver func(ctx context.Context, file string) error

// take takes what the host knows.
func (c *collector) take(ctx context.Context, name string, limit time.Duration, save saver) {
	_ = c.try(ctx, name, limit, save) // the summary has the error
}

// try has save write a file, for a limited time: one that hangs, say in the kernel, is left behind.
func (c *collector) try(ctx context.Context, name string, limit time.Duration, save saver) error {
	began := time.Now()
	late := fmt.Errorf("not done within %s: %w", prose.Exact(limit), context.DeadlineExceeded)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, late)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- save(ctx, filepath.Join(c.dir, name)) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	c.note(name, time.Since(began), err)
	return err
}

// collect takes what QEMU's monitor has to give.
func (c *collector) collect(ctx context.Context, name string, limit time.Duration, save saver) {
	if c.mute {
		c.note(name, 0, errMute)
		return
	}
	err := c.try(ctx, name, limit, save)
	c.mute = errors.Is(err, context.DeadlineExceeded) // a [qmp.TimeoutError] is one, too
}

func (c *collector) note(name string, took time.Duration, err error) {
	result := "taken"
	if err != nil {
		result = err.Error()
	}
	fmt.Fprintf(&c.summary, "%-17s %11s  %s\n", name, prose.Duration(took), result)
}

func (e *Evidence) saveConsole(_ context.Context, file string) error {
	return os.WriteFile(file, []byte(e.logs.tail("console.log", 200)+"\n"), 0o644)
}

// stateQueries are what state.json has the answers to.
var stateQueries = []string{
	"query-status", "query-cpus-fast", "query-block", "query-chardev", "query-jobs", "query-migrate",
}

// saveState writes an object with an answer for each query; with what there is, if QEMU stops
// answering on the way.
func (e *Evidence) saveState(ctx context.Context, file string) error {
	answers := map[string]json.RawMessage{}
	var failed error
	for _, q := range stateQueries {
		var answer json.RawMessage
		err := e.qmp.Execute(ctx, q, nil, &answer)
		if refusal := new(qmp.Error); errors.As(err, &refusal) {
			answer, err = json.Marshal(map[string]string{"error": refusal.Desc})
		}
		if failed = err; err != nil {
			break
		}
		answers[q] = answer
	}
	data, err := json.MarshalIndent(answers, "", "\t")
	if err == nil {
		err = os.WriteFile(file, append(data, '\n'), 0o644)
	}
	return errors.Join(failed, err)
}

func (e *Evidence) saveRegisters(ctx context.Context, file string) error {
	text, err := hmp(ctx, e.qmp, "info registers -a")
	if err != nil {
		return err
	}
	return os.WriteFile(file, bytes.ReplaceAll([]byte(text), []byte("\r\n"), []byte("\n")), 0o644)
}
