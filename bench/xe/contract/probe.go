package contract

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vmtb/bench/pci"
	"vmtb/bench/sysfs"
	"vmtb/bench/undo"
)

// A Probe carries out the steps of rules on one PF. It records each write first.
type Probe struct {
	PF    pci.Address
	Total int // VFs that the PF can have

	sys       System
	tree      *sysfs.Tree
	flat      bool // debugfs has the layout of Linux up to 6.18
	vram      bool
	gts       []int  // of tile 0
	ggttSpare uint64 // kept for the PF by default
	ggttFree  []span // free ranges without VFs

	recorded map[string]bool // paths that are in the journal
	changed  []undo.Record   // by the current rule
}

// NewProbe reads the PF's properties. The PF must have no VFs and be in automatic mode without
// settings. [Probe.Settle] establishes the rest.
func NewProbe(sys System, journal undo.Journal, pf pci.Address) (*Probe, error) {
	p := &Probe{PF: pf, sys: sys, tree: &sysfs.Tree{FS: sys, Log: journal}, recorded: map[string]bool{}}
	total, err := p.tree.Uint(pf.Dir() + "/sriov_totalvfs")
	if err != nil {
		return nil, err
	}
	p.Total = int(total)
	p.flat = !p.exists("D/sriov/pf")
	for p.exists(fmt.Sprintf("P/tile0/gt%d", len(p.gts))) {
		p.gts = append(p.gts, len(p.gts))
	}
	p.vram = p.exists("T/pf/vram_spare")
	if p.ggttSpare, err = p.uint("T/pf/ggtt_spare"); err != nil {
		return nil, err
	}
	p.ggttFree, err = p.ggttHoles()
	slices.SortFunc(p.ggttFree, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	return p, err
}

// Settle brings the PF to the state from which every rule starts.
func (p *Probe) Settle(ctx context.Context) error {
	if n, err := p.tree.Text(p.PF.Dir() + "/sriov_numvfs"); err != nil || n != "0" {
		return differs(err, "%s VFs are enabled, want none", n)
	}
	if err := p.auto(ctx); err != nil {
		return err
	}
	err := p.write(ctx, "P/sriov_drivers_autoprobe", "0")
	p.changed = nil // rules must not undo this; the journal has it
	return err
}

// auto returns to automatic mode if the kernel has modes. No VFs may be enabled.
func (p *Probe) auto(ctx context.Context) error {
	if p.flat {
		return nil
	}
	return p.write(ctx, "D/sriov/restore_auto_provisioning", "1")
}

// Restore undoes the changes of the current rule, newest first.
func (p *Probe) Restore(ctx context.Context) error {
	var errs []error
	for _, r := range slices.Backward(p.changed) {
		errs = append(errs, r.Undo(ctx, p.sys))
	}
	p.changed = nil
	return errors.Join(append(errs, p.auto(ctx))...)
}

// Path returns the path of a file in the package's notation.
func (p *Probe) Path(file string) (string, error) {
	file = p.expand(file)
	head, rest, _ := strings.Cut(file, "/")
	debugfs := "/sys/kernel/debug/dri/" + string(p.PF)
	switch head {
	case "":
		return file, nil
	case "P":
		return path.Join(p.PF.Dir(), rest), nil
	case "A":
		return path.Join(p.PF.Dir(), "sriov_admin", rest), nil
	case "D":
		return path.Join(debugfs, rest), nil
	case "V1", "V2":
		vf, err := p.vf(int(head[1] - '0'))
		return path.Join(vf.Dir(), rest), err
	case "D1":
		vf, err := p.vf(1)
		return path.Join("/sys/kernel/debug/dri", string(vf), rest), err
	}
	function, name, _ := strings.Cut(rest, "/")
	switch {
	case head == "T" && p.flat:
		return path.Join(debugfs, "gt0", function, strings.Replace(name, "vram_", "lmem_", 1)), nil
	case head == "T":
		return path.Join(debugfs, "sriov", function, "tile0", name), nil
	case p.flat:
		return path.Join(debugfs, "gt"+head[1:], function, name), nil
	}
	return path.Join(debugfs, "sriov", function, "tile0/gt"+head[1:], name), nil
}

// each returns the files that G/… and gt* stand for.
func (p *Probe) each(file string) []string {
	if rest, ok := strings.CutPrefix(file, "G/"); ok {
		file = "G*/" + rest
	}
	if !strings.Contains(file, "*") {
		return []string{file}
	}
	var files []string
	for _, gt := range p.gts {
		files = append(files, strings.Replace(file, "*", strconv.Itoa(gt), 1))
	}
	return files
}

// vf returns the address of VF n, from the PF's link.
func (p *Probe) vf(n int) (pci.Address, error) {
	target, err := p.sys.Readlink(fmt.Sprintf("%s/virtfn%d", p.PF.Dir(), n-1))
	if err != nil {
		return "", fmt.Errorf("VF%d: %w", n, err)
	}
	return pci.Parse(path.Base(target))
}

// expand replaces the names in braces in a value.
func (p *Probe) expand(text string) string {
	if !strings.Contains(text, "{") {
		return text
	}
	text = strings.NewReplacer(
		"{PF}", string(p.PF), "{TOTAL}", strconv.Itoa(p.Total), "{TOTAL+1}", strconv.Itoa(p.Total+1),
	).Replace(text)
	for n := 1; n <= 2; n++ {
		if vf, err := p.vf(n); err == nil {
			text = strings.ReplaceAll(text, fmt.Sprintf("{VF%d}", n), string(vf))
		}
	}
	return text
}

func (p *Probe) exists(file string) bool {
	at, err := p.Path(file)
	return err == nil && p.tree.Exists(at)
}

// Read returns the content of a file.
func (p *Probe) Read(file string) (string, error) {
	at, err := p.Path(file)
	if err != nil {
		return "", err
	}
	b, err := p.sys.ReadFile(at)
	return string(b), err
}

func (p *Probe) uint(file string) (uint64, error) {
	at, err := p.Path(file)
	if err != nil {
		return 0, err
	}
	return p.tree.Uint(at)
}

// Reads returns nil if the file's content is want.
func (p *Probe) Reads(file, want string) error {
	got, err := p.Read(file)
	if path.Base(file) == "name" { // a display server may be the device's master
		got = master.ReplaceAllString(got, "")
	}
	if err != nil || got != want {
		return differs(err, "%s reads %q, want %q", file, got, want)
	}
	return nil
}

// Unreadable returns nil if reading the file fails with errno.
func (p *Probe) Unreadable(errno syscall.Errno, file string) error {
	got, err := p.Read(file)
	return wantErrno(errno, err, fmt.Sprintf("reading %s (%q)", file, got))
}

// Refuses returns nil if writing value to the file fails with errno; errno 0 is success.
func (p *Probe) Refuses(ctx context.Context, errno syscall.Errno, file, value string) error {
	return wantErrno(errno, p.write(ctx, file, value), fmt.Sprintf("%s <- %.40q", file, value))
}

// differs returns an error for a difference, with err if that is not nil.
func differs(err error, format string, args ...any) error {
	said := fmt.Errorf(format, args...)
	if err == nil {
		return said
	}
	return fmt.Errorf("%w: %w", said, err)
}

// wantErrno returns nil if err is errno. The argument called what describes the operation.
func wantErrno(errno syscall.Errno, err error, what string) error {
	var got syscall.Errno
	switch {
	case err == nil && errno == 0, errors.As(err, &got) && got == errno:
		return nil
	case errno == 0:
		return fmt.Errorf("%s: %w", what, err)
	case err == nil:
		return fmt.Errorf("%s: succeeds, want %s", what, unix.ErrnoName(errno))
	}
	return fmt.Errorf("%s: want %s, got: %w", what, unix.ErrnoName(errno), err)
}

// before reports whether the kernel is older than a version. It returns false if the version is unknown.
func (p *Probe) before(major, minor int) bool {
	release, err := p.Read("/proc/sys/kernel/osrelease")
	var a, b int
	if _, scan := fmt.Sscanf(release, "%d.%d", &a, &b); err != nil || scan != nil {
		return false
	}
	return a < major || a == major && b < minor
}

// write writes value to a file, and records the change first.
func (p *Probe) write(ctx context.Context, file, value string) error {
	at, err := p.Path(file)
	if err != nil {
		return err
	}
	value = p.expand(value)
	if path.Base(at) == "sriov_numvfs" && value != "0" {
		if err := p.rememberPF(ctx); err != nil {
			return err
		}
	}
	record, ok := p.undoOf(at)
	if !ok {
		return p.tree.Write(ctx, at, value)
	}
	p.changed = append(p.changed, record)
	if p.recorded[at] {
		return p.tree.Write(ctx, at, value)
	}
	p.recorded[at] = true
	return p.tree.Log.Do(ctx, record, func() error { return p.tree.Write(ctx, at, value) })
}

// rememberPF records the time slice and the priority of the PF. Drivers of Linux 7.3 change them
// when VFs are enabled and disabled. If a rule changed them itself, they are recorded already.
func (p *Probe) rememberPF(ctx context.Context) error {
	for _, name := range []string{"sched_priority", "exec_quantum_ms", "preempt_timeout_us"} {
		at, err := p.Path("A/pf/profile/" + name)
		if err != nil || !p.tree.Exists(at) || p.holds(at) {
			continue
		}
		record, ok := p.undoOf(at)
		if !ok {
			continue
		}
		p.changed = append(p.changed, record)
		if p.recorded[at] {
			continue
		}
		p.recorded[at] = true
		if err := p.tree.Log.Do(ctx, record, func() error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

// holds reports whether the current rule has recorded a file already.
func (p *Probe) holds(at string) bool {
	return slices.ContainsFunc(p.changed, func(r undo.Record) bool {
		w, ok := r.(undo.Write)
		return ok && w.Path == at
	})
}

// undoOf returns the record that undoes a write to a file. It returns false for operations on VFs,
// which end with the VFs, and for files whose value cannot be written back.
func (p *Probe) undoOf(at string) (undo.Record, bool) {
	if r := p.knownUndo(at); r != nil {
		return r, true
	}
	if !p.isSetting(at) {
		return nil, false
	}
	w := undo.Write{Path: at}
	var err error
	if w.Old, err = p.tree.Text(at); err != nil {
		w.Old = "0" // the GTs differ: the default of VFs and PF is 0
	}
	if _, choice, ok := strings.Cut(w.Old, "["); ok {
		w.Restore, _, _ = strings.Cut(choice, "]")
	}
	w.Restore = cmp.Or(w.Restore, w.Old, "\n")
	return w, true
}

// isSetting reports whether a file holds a value that can be read and written back.
func (p *Probe) isSetting(at string) bool {
	info, err := p.sys.Stat(at)
	return err == nil && info.Mode()&0o200 != 0 && info.Mode()&0o444 != 0 && !slices.Contains(operations, path.Base(at))
}

// knownUndo returns the record that undoes a write to a file whose old value cannot be read, or
// nil.
func (p *Probe) knownUndo(at string) undo.Record {
	base, dir := path.Base(at), path.Base(path.Dir(at))
	switch {
	case base == "restore_auto_provisioning":
		return undo.Write{Path: at, Blind: true, Restore: "1"}
	case dir == ".bulk_profile" && base == "sched_priority":
		return undo.Write{Path: at, Blind: true, Restore: "low"}
	case dir == ".bulk_profile":
		return undo.Write{Path: at, Blind: true, Restore: "0"}
	case base == "unbind" && dir == "xe":
		return undo.Binding{Device: p.PF.Dir(), Driver: "xe", OldDriver: "xe"}
	case strings.HasSuffix(base, "_quota"), base == "sriov_numvfs",
		(base == "exec_quantum_ms" || base == "preempt_timeout_us") && ofVF.MatchString(at):
		return undo.Write{Path: at, Old: "0"} // the value without VFs is 0
	case base == "sched_priority" && strings.HasPrefix(at, "/sys/kernel/debug/") && ofVF.MatchString(at):
		// VFs have no priority of their own. If a firmware gives them one, this resets it.
		return undo.Write{
			Path: ofVF.ReplaceAllString(path.Dir(at), "/pf") + "/sched_if_idle", Blind: true, Restore: "0",
		}
	}
	return nil
}

var master = regexp.MustCompile(` master=\S+`)

// ofVF matches the directory of a VF in a path.
var ofVF = regexp.MustCompile(`/vf[0-9]+\b`)

// operations are readable files without a setting.
var operations = []string{"control", "save", "restore", "migration_data"}

// await calls cond until it returns nil. Some changes take the kernel a moment, and a busy emulated
// kernel longer.
func (p *Probe) await(ctx context.Context, cond func() error) error {
	var last error
	err := sysfs.Poll(ctx, 30*time.Second, "expected state", func() (bool, error) {
		last = cond()
		return last == nil, nil
	})
	return errors.Join(last, err)
}
