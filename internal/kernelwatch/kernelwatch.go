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

// dmesgFile is the file with the host's kernel messages in the folder of a phase.
const dmesgFile = "dmesg.txt"

// A Watch assigns kernel messages to the phase in which they were logged, and judges them. After
// each phase it also checks the taint and the lockdep of the host. It implements [flow.Watcher].
type Watch struct {
	host  *host.Host
	rules klog.Rules
	log   *host.KernelLog // nil if the log cannot be read here

	mu      sync.Mutex
	dir     string // of the current phase; "" before the first
	early   strings.Builder
	dmesg   *logFile
	found   []flow.Finding
	guests  []*console
	taint   host.Taint
	lockdep bool // lockdep is switched off

	verdicts map[klog.Message]verdict // of earlier messages
	reports  map[string]*report       // the last report of each source
}

// A report is the last report of several lines in a log.
type report struct {
	lines klog.Splitter
	at    int // index in found; -1 if the finding went to an earlier phase or was not kept
}

// maxReport limits the text of a finding in bytes. It is less than a string of the journal may have.
const maxReport = 32 << 10

// Start watches until ctx ends. Reading the host's log needs root. If it cannot be read, note says
// so, and the rest is watched.
func Start(ctx context.Context, h *host.Host, rules klog.Rules) (w *Watch, note string) {
	w = &Watch{host: h, rules: rules, dmesg: &logFile{}}
	w.checkHost(ctx) // the run has not caused the present state
	w.found = nil
	var err error
	if w.log, err = h.FollowKernelLog(ctx, w.message); err != nil {
		return w, fmt.Sprintf("the kernel log of the host is not watched: %v", err)
	}
	return w, ""
}

// Close waits until the log has been read, and closes the last file. The context of [Start] must
// have ended.
func (w *Watch) Close() error {
	var err error
	if w.log != nil {
		err = w.log.Wait()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(err, w.dmesg.close())
}

// message handles a message of the host's kernel.
func (w *Watch) message(m host.KernelMessage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	line := m.String() + "\n"
	if m.Lost > 0 {
		line = fmt.Sprintf("[%s lost: the kernel wrote faster than vmtb read]\n", prose.Count(m.Lost, "message")) + line
	}
	if w.dir == "" {
		w.early.WriteString(line) // a few lines: the first phase begins soon
	}
	w.dmesg.write(line)
	if m.Facility != 0 { // a program wrote it, not the kernel
		return
	}
	for line := range strings.Lines(m.Text) { // judged one by one, as on a console
		line = strings.TrimSuffix(line, "\n")
		w.judge(
			flow.SourceHost, line, klog.Message{Source: klog.Host, Level: m.Level, Subsystem: subsystem(m), Text: line},
		)
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

// ruleLog is the name of the rule for problems with a log itself.
const ruleLog = "kernel-log"

// maxFindings limits the number of warnings of a phase, and the number of failures. A kernel in
// trouble may repeat a message without end. The two have separate counts, so that many warnings do
// not hide a failure.
const maxFindings = 50

// A verdict is the result of the rules for a message.
type verdict struct {
	rule   string
	action klog.Action
}

// maxVerdicts limits the cache of verdicts. A kernel that floods its log repeats few messages, and
// matching many regular expressions for each of them would be too slow.
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
	r := w.reports[source]
	if r == nil {
		if w.reports == nil {
			w.reports = map[string]*report{}
		}
		r = &report{at: -1}
		w.reports[source] = r
	}
	f := flow.Finding{Source: source, Rule: v.rule, Fail: v.action == klog.Fail, Text: text}
	switch r.lines.Next(text, v.action) {
	case klog.Head:
		f.Text = strings.Join(append([]string{text}, r.lines.Before()...), "\n")
		r.at = w.find(f)
	case klog.Body:
		w.extend(r, text)
	case klog.Single:
		if v.action != klog.Ignore {
			w.find(f)
		}
	}
}

// extend adds a line to the finding of a report.
func (w *Watch) extend(r *report, line string) {
	const cut = "\n[cut: the kernel log has the rest]"
	if r.at < 0 {
		return
	}
	switch text := &w.found[r.at].Text; {
	case strings.HasSuffix(*text, cut):
	case len(*text)+len(line) > maxReport:
		*text += cut
	default:
		*text += "\n" + line
	}
}

// find adds a finding and returns its index, or -1 if there are too many.
func (w *Watch) find(f flow.Finding) int {
	same := 0
	for _, o := range w.found {
		if o.Fail == f.Fail {
			same++
		}
	}
	if same >= maxFindings {
		return -1
	}
	w.found = append(w.found, f)
	return len(w.found) - 1
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
	w.checkHost(context.Background()) // kernel files, which do not block
	for _, c := range w.guests {
		w.readConsole(c, false)
	}
	if err != nil {
		w.find(flow.Finding{Source: flow.SourceHost, Rule: ruleLog, Text: err.Error()})
	}
	found := w.found
	w.found = nil
	for _, r := range w.reports {
		r.at = -1
	}
	return found
}

// checkHost compares taint and lockdep of the host with their former values.
func (w *Watch) checkHost(ctx context.Context) {
	if taint, err := host.TaintOf(ctx, w.host); err == nil {
		if fresh := taint &^ w.taint & host.Broken; fresh != 0 {
			w.find(
				flow.Finding{
					Source: flow.SourceHost, Rule: flow.RuleTaint, Fail: true,
					Text: "the kernel has become tainted " + fresh.String(),
				},
			)
		}
		w.taint = taint
	}
	if off, err := host.LockdepOff(ctx, w.host); err == nil {
		if off && !w.lockdep {
			w.find(
				flow.Finding{
					Source: flow.SourceHost, Rule: flow.RuleLockdep, Fail: true,
					Text: "lockdep has found a problem and switched itself off",
				},
			)
		}
		w.lockdep = off
	}
}
