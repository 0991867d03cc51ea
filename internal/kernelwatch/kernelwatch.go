package kernelwatch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"vmtb/bench/host"
	"vmtb/bench/klog"
	"vmtb/flow"
	"vmtb/internal/prose"
)

// dmesgFile is where the messages of the host's kernel are, in the folder of the phase during which they came.
const dmesgFile = "dmesg.txt"

// A Watch gives what kernels log to the phase during which they did, and judges it. Taint and lockdep of the host
// are looked at after each phase.
type Watch struct {
	host  *host.Host
	rules klog.Rules
	log   *host.KernelLog // nil when it cannot be read here

	mu      sync.Mutex
	dir     string // of the present phase; "" before the first
	early   strings.Builder
	dmesg   *logFile
	found   []flow.Finding
	guests  []*console
	taint   host.Taint
	lockdep bool // is off

	verdicts map[klog.Message]verdict // of messages that came before
}

// Start begins to watch, until ctx ends. Where the host's log may not be read, which takes root, it is not
// watched, and why is the note.
func Start(ctx context.Context, h *host.Host, rules klog.Rules) (w *Watch, note string) {
	w = &Watch{host: h, rules: rules, dmesg: &logFile{}}
	w.checkHost(ctx) // what was so before is not our doing
	w.found = nil
	var err error
	if w.log, err = h.FollowKernelLog(ctx, w.message); err != nil {
		return w, fmt.Sprintf("the kernel log of the host is not watched: %v", err)
	}
	return w, ""
}

// Close waits until the log has been read, and closes the last file.
func (w *Watch) Close() error {
	var err error
	if w.log != nil {
		err = w.log.Wait()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(err, w.dmesg.close())
}

// message takes a message of the host's kernel.
func (w *Watch) message(m host.KernelMessage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	line := m.String() + "\n"
	if m.Lost > 0 {
		line = fmt.Sprintf("[%s lost: the kernel wrote faster than vmtb read]\n", prose.Count(m.Lost, "message")) + line
	}
	if w.dir == "" {
		w.early.WriteString(line) // little: a run begins at once
	}
	w.dmesg.write(line)
	if m.Facility != 0 { // what programs write into the log is not the kernel's
		return
	}
	for line := range strings.Lines(m.Text) { // judged one by one, as on a console
		line = strings.TrimSuffix(line, "\n")
		w.judge(flow.SourceHost, line, klog.Message{Source: klog.Host, Level: m.Level, Subsystem: subsystem(m), Text: line})
	}
}

func subsystem(m host.KernelMessage) string {
	for _, d := range m.Dict {
		if s, ok := strings.CutPrefix(d, "SUBSYSTEM="); ok {
			return s
		}
	}
	return ""
}

// ruleLog is the rule of what is wrong with a log itself.
const ruleLog = "kernel-log"

// maxFindings is how many warnings, and how many failures, one phase may have: a kernel in trouble may say the same
// without end. They are counted apart, so that no number of warnings hides a failure.
const maxFindings = 50

// A verdict is what the rules say of a message.
type verdict struct {
	rule   string
	action klog.Action
}

// maxVerdicts is how many verdicts are kept: a kernel that floods its log says few things, over and over, and 16 regular
// expressions for each would not keep up with it.
const maxVerdicts = 256

func (w *Watch) judge(source, text string, m klog.Message) {
	v, known := w.verdicts[m]
	if !known {
		if w.verdicts == nil || len(w.verdicts) >= maxVerdicts {
			w.verdicts = map[klog.Message]verdict{}
		}
		v.rule, v.action = w.rules.Judge(m)
		w.verdicts[m] = v
	}
	if v.action != klog.Ignore {
		w.find(flow.Finding{Source: source, Rule: v.rule, Fail: v.action == klog.Fail, Text: text})
	}
}

func (w *Watch) find(f flow.Finding) {
	same := 0
	for _, o := range w.found {
		if o.Fail == f.Fail {
			same++
		}
	}
	if same < maxFindings {
		w.found = append(w.found, f)
	}
}

// Enter implements [flow.Watcher].
func (w *Watch) Enter(dir string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if dir != w.dir {
		w.dir = dir
		if err := w.dmesg.open(filepath.Join(dir, dmesgFile)); err != nil {
			w.find(flow.Finding{Source: flow.SourceHost, Rule: ruleLog, Text: err.Error()})
		}
		if w.early.Len() > 0 {
			w.dmesg.write(w.early.String())
			w.early.Reset()
		}
	}
}

// Leave implements [flow.Watcher].
func (w *Watch) Leave() []flow.Finding {
	var err error
	if w.log != nil {
		err = w.log.Sync()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checkHost(context.Background()) // files of the kernel's: nothing to wait for
	for _, c := range w.guests {
		w.readConsole(c, false)
	}
	if err != nil {
		w.find(flow.Finding{Source: flow.SourceHost, Rule: ruleLog, Text: err.Error()})
	}
	found := w.found
	w.found = nil
	return found
}

// look compares taint and lockdep of the host with what they were.
func (w *Watch) checkHost(ctx context.Context) {
	if taint, err := host.TaintOf(ctx, w.host); err == nil {
		if fresh := taint &^ w.taint & host.Broken; fresh != 0 {
			w.find(flow.Finding{Source: flow.SourceHost, Rule: flow.RuleTaint, Fail: true, Text: "the kernel has become tainted " + fresh.String()})
		}
		w.taint = taint
	}
	if off, err := host.LockdepOff(ctx, w.host); err == nil {
		if off && !w.lockdep {
			w.find(flow.Finding{Source: flow.SourceHost, Rule: flow.RuleLockdep, Fail: true, Text: "lockdep has found something and switched itself off"})
		}
		w.lockdep = off
	}
}
