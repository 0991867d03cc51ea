package flow

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"
	"time"

	"vmtb/bench"
	"vmtb/internal/atomicfile"
	"vmtb/internal/prose"
)

// A Part is a run directory to merge.
type Part struct {
	Dir string
	DUT string // name of the DUT in reports; "" is the host name in its run.json
	// Extra marks an attempt that does not count. It is kept, and placed before the attempts that
	// count.
	Extra bool
}

// MergeOptions are the inputs and the output of a merge. Parts and Out are required.
type MergeOptions struct {
	Parts    []Part
	Out      string   // the run directory to create; a directory that exists must be empty
	Order    []ID     // order of the plan, such as the registry's; other cases come after it
	Planned  []ID     // cases that belong to the run; those that no part has get the result notrun
	Expected []string // names of DUTs; one without a part is missing
	// Copying is called before the files of each part are copied. It may be nil.
	Copying func(n, of int, dir string)
}

// Merge makes one run directory out of many: shards, attempts, runs of several DUTs. The result has
// the same format, so every report can read it. It does not depend on the order of the parts.
//
// Entries of one part keep their order. Entries of different parts are ordered by time, but the
// entries of a fixture are never mixed with those of another part. Attempts of a case are numbered
// in this order, and the last one counts. If a journal has no end, Merge adds ends for the phases
// that were open.
//
// A part that is not a run directory, or whose run is alive, is a [bench.UsageError]. Merge writes
// nothing then.
func Merge(ctx context.Context, o MergeOptions) (*RunDir, error) {
	m := &merger{MergeOptions: o}
	if err := m.open(); err != nil {
		return nil, err
	}
	m.order()
	m.nameDUTs()
	m.plan()
	m.describe()
	return m.write(ctx)
}

// A merger is one merge in progress.
type merger struct {
	MergeOptions
	parts   []*part
	info    Info
	entries []Entry // without log lines: they go to the disk only
	summary Summary
	notes   []string
	skipped int // files that are neither regular files nor directories
}

// A part is a [Part] with the run that was read from it.
type part struct {
	Part
	run     *RunDir
	name    string            // of its DUT
	folder  string            // folder for its own files, in the merged directory
	steps   []Entry           // its entries with the missing ends, without log lines and entries of the run
	last    time.Time         // newest time of its entries; known after weaving
	open    []Entry           // phases that are open at the end of its journal, outermost first
	renamed map[string]string // old to new names of folders in the run directory
	key     string            // sorts the parts
}

// open reads all parts. The error lists every part that cannot be merged.
func (m *merger) open() error {
	var errs []error
	if len(m.Parts) == 0 {
		errs = append(errs, errors.New("no run directory to merge"))
	}
	for _, p := range m.Parts {
		run, err := OpenRun(p.Dir)
		if err == nil && run.Alive {
			err = fmt.Errorf("%s: that run is alive: wait for its end, or interrupt it", p.Dir)
		}
		if err == nil {
			err = m.outside(run.Info.Dir)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		m.parts = append(m.parts, &part{Part: p, run: run, renamed: map[string]string{}})
	}
	if len(errs) > 0 {
		return &bench.UsageError{Err: errors.Join(errs...), Advice: "nothing was merged"}
	}
	return nil
}

// outside returns an error if the output lies inside the run directory dir, which is an input.
func (m *merger) outside(dir string) error {
	out, err := filepath.Abs(m.Out)
	if err != nil {
		return err
	}
	if rel, err := filepath.Rel(dir, out); err == nil && filepath.IsLocal(rel) {
		return fmt.Errorf("%s is inside %s, one of the directories to merge", m.Out, dir)
	}
	return nil
}

// order sorts the parts by their contents. If one part is an older copy of another, order drops it.
func (m *merger) order() {
	for _, p := range m.parts {
		info, _ := json.Marshal(p.run.Info) // cannot fail: Info was read from JSON
		p.key = fmt.Sprintf("%s %d", info, p.run.lines)
	}
	sort.SliceStable(m.parts, func(i, j int) bool {
		a, b := m.parts[i], m.parts[j]
		order := cmp.Or(
			a.run.Info.Start.Compare(b.run.Info.Start), cmp.Compare(a.key, b.key), cmp.Compare(a.DUT, b.DUT),
		)
		return order < 0
	})
	var kept []*part
	for _, p := range m.parts {
		i := slices.IndexFunc(kept, func(k *part) bool { return k.sameRun(p) })
		if i < 0 {
			kept = append(kept, p)
			continue
		}
		if p.run.lines > kept[i].run.lines {
			kept[i], p = p, kept[i]
		}
		kept[i].Extra = kept[i].Extra && p.Extra
		m.notes = append(m.notes, fmt.Sprintf(
			"the run of %s that began at %s was given several times; it counts once",
			hostOf(p.run.Info.DUT), p.run.Info.Start.UTC().Format("15:04:05")))
	}
	m.parts = kept
}

// sameRun reports whether p and q are copies of one run, made at different times.
func (p *part) sameRun(q *part) bool {
	a, b := p.run.Info, q.run.Info
	if a.BootID == "" || a.BootID != b.BootID || a.PID != b.PID || a.PIDStart != b.PIDStart || !a.Start.Equal(b.Start) {
		return false
	}
	if !slices.EqualFunc(a.Plan, b.Plan, func(x, y Item) bool { return x.ID == y.ID }) {
		return false
	}
	n := min(len(p.run.Entries), len(q.run.Entries))
	return n == 0 || reflect.DeepEqual(p.run.Entries[:n], q.run.Entries[:n])
}

// nameDUTs sets the name of each part's DUT. Machines with equal names get numbers.
func (m *merger) nameDUTs() {
	machines := map[string][]string{}
	for i, p := range m.parts {
		p.name = cmp.Or(p.DUT, hostOf(p.run.Info.DUT))
		if id := p.run.Info.MachineID; id != "" && p.DUT == "" {
			known := machines[p.name]
			at := slices.Index(known, id)
			if at < 0 {
				at = len(known)
				machines[p.name] = append(known, id)
			}
			if at > 0 {
				p.name = fmt.Sprintf("%s (%d)", p.name, at+1)
			}
		}
		p.folder = fmt.Sprintf("%s/%02d-%s", mergedRuns, i+1, cmp.Or(slug(p.name), "unnamed"))
	}
}

// mergedRuns is the folder of a merged run directory for the files that belong to one of its runs
// as a whole.
const mergedRuns = "runs"

// describe sets the fields of run.json, except the plan and the notes.
func (m *merger) describe() {
	plan := m.info.Plan
	m.info = m.parts[0].run.Info
	m.info.Plan, m.info.Dir = plan, ""
	m.info.DUTs = m.duts()
	all := func(field func(Info) any) bool {
		return !slices.ContainsFunc(m.parts, func(p *part) bool {
			return !reflect.DeepEqual(field(p.run.Info), field(m.info))
		})
	}
	if !all(func(i Info) any { return i.Argv }) {
		m.info.Argv = nil
	}
	if !all(func(i Info) any { return i.Policy }) {
		m.info.Policy = Policy{}
	}
	if !all(func(i Info) any { return string(i.Config) }) {
		m.info.Config = nil
	}
	if !all(func(i Info) any { return string(i.KernelLogRules) }) {
		m.info.KernelLogRules = nil
	}
	if !all(func(i Info) any { return i.Timeout }) {
		m.info.Timeout = 0
	}
	if !all(func(i Info) any { return i.MachineID }) {
		m.info.MachineID = ""
	}
	m.info.Version = m.versions()
	if len(m.info.DUTs) > 1 {
		var names []string
		for _, d := range m.info.DUTs {
			names = append(names, d.Name)
		}
		m.info.DUT = prose.Count(len(names), "DUT") + ": " + strings.Join(names, ", ")
	}
	m.info.Environment = m.environment()
}

// versions returns the versions of all parts, each once.
func (m *merger) versions() string {
	var all []string
	for _, p := range m.parts {
		if v := p.run.Info.Version; v != "" && !slices.Contains(all, v) {
			all = append(all, v)
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// environment returns the facts that all parts have in common. Other facts stay with the DUT.
func (m *merger) environment() []Fact {
	return slices.DeleteFunc(slices.Clone(m.parts[0].run.Info.Environment), func(f Fact) bool {
		return slices.ContainsFunc(m.parts, func(p *part) bool { return !slices.Contains(p.run.Info.Environment, f) })
	})
}

// allNotes returns the notes of all parts, each once. A note that some parts do not have begins
// with the name of its DUT.
func (m *merger) allNotes() []string {
	var notes []string
	for _, p := range m.parts {
		for _, n := range p.run.Info.Notes {
			everywhere := !slices.ContainsFunc(m.parts, func(q *part) bool {
				return !slices.Contains(q.run.Info.Notes, n)
			})
			if !everywhere {
				n = p.name + ": " + n
			}
			if !slices.Contains(notes, n) {
				notes = append(notes, n)
			}
		}
	}
	if n := m.severalDUTs(); n > 0 {
		notes = append(notes, prose.Count(n, "flow")+" ran on more than one DUT: the last attempt counts")
	}
	return append(notes, m.notes...)
}

// severalDUTs returns the number of cases that began on more than one DUT.
func (m *merger) severalDUTs() int {
	on, several := map[ID]string{}, map[ID]bool{}
	for _, e := range m.entries {
		if e.Phase != PhaseCase || e.Event != Begin {
			continue
		}
		if before, ok := on[e.ID]; ok && before != e.DUT {
			several[e.ID] = true
		}
		on[e.ID] = e.DUT
	}
	return len(several)
}

// duts returns the DUTs of all parts and the missing ones, by name.
func (m *merger) duts() []DUT {
	byName := map[string]*DUT{}
	at := func(name string) *DUT {
		if byName[name] == nil {
			byName[name] = &DUT{Name: name}
		}
		return byName[name]
	}
	for _, p := range m.parts { // by start, so the facts of the newest run win
		for _, inner := range p.run.Info.DUTs { // set if the part is a merged run itself
			d := at(inner.Name)
			d.Description, d.Environment, d.Missing = inner.Description, inner.Environment, inner.Missing
			for _, r := range inner.Runs {
				r.Dir, r.Extra = p.folder+"/"+r.Dir, r.Extra || p.Extra
				d.Runs = append(d.Runs, r)
			}
		}
		if p.run.Info.Merged() {
			continue
		}
		d := at(p.name)
		d.Description, d.Environment, d.Missing = p.run.Info.DUT, p.run.Info.Environment, p.missing()
		d.Runs = append(d.Runs, p.asRun())
	}
	for _, name := range m.Expected {
		if d := at(name); d.Runs == nil && d.Missing == "" {
			d.Missing = "no run directory"
		}
	}
	var all []DUT
	for _, d := range byName {
		all = append(all, *d)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}

func (p *part) asRun() DUTRun {
	r := DUTRun{
		Dir: p.folder, Start: p.run.Info.Start, BootID: p.run.Info.BootID,
		Planned: len(p.run.Info.Plan), Extra: p.Extra,
	}
	var s Summary
	for _, e := range p.run.Entries {
		s.Add(e)
	}
	for result, n := range s.Counts {
		if result != NotRun && result != Incomplete {
			r.Done += n
		}
	}
	if p.run.Ended() {
		r.ExitCode = p.run.Entries[len(p.run.Entries)-1].ExitCode
	}
	return r
}

// missing returns why the run has no end; "" if it has one.
func (p *part) missing() string {
	if p.run.Ended() {
		return ""
	}
	if len(p.open) == 0 {
		return "its journal has no end"
	}
	last := p.open[len(p.open)-1]
	if last.Phase == PhaseCase {
		return "its journal ends in " + last.ID.String()
	}
	return fmt.Sprintf("its journal ends in the %s of %s", last.Phase, last.ID)
}

// write creates the run directory: complete, or not at all.
func (m *merger) write(ctx context.Context) (*RunDir, error) {
	out, err := filepath.Abs(m.Out)
	if err != nil {
		return nil, err
	}
	if entries, err := os.ReadDir(out); err == nil && len(entries) > 0 {
		return nil, &bench.UsageError{Err: fmt.Errorf("%s is not empty", m.Out), Advice: "-o names a new directory"}
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return nil, &bench.UsageError{Err: err, Advice: "-o names another directory"}
	}
	temp, err := os.MkdirTemp(filepath.Dir(out), ".vmtb-merge-*")
	if err != nil {
		return nil, &bench.UsageError{Err: err, Advice: "-o names another directory"}
	}
	defer os.RemoveAll(temp) // after a success it no longer exists
	if err := m.fill(ctx, temp); err != nil {
		return nil, err
	}
	if err := os.Rename(temp, out); err != nil { // replaces an empty directory
		return nil, &bench.InfraError{Op: "rename the merged run directory", Err: err}
	}
	if err := atomicfile.SyncDir(filepath.Dir(out)); err != nil {
		return nil, &bench.InfraError{Op: "write the merged run directory", Err: err}
	}
	return OpenRun(out)
}

// fill writes the contents of the run directory.
func (m *merger) fill(ctx context.Context, dir string) error {
	err := os.Chmod(dir, 0o755) // everybody may read results
	for i, p := range m.parts {
		if err != nil {
			break
		}
		if m.Copying != nil {
			m.Copying(i+1, len(m.parts), p.Dir)
		}
		err = m.copyPart(ctx, p, dir)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, lockFile), nil, 0o644)
	}
	if err == nil {
		err = m.writeJournal(filepath.Join(dir, journalFile))
	}
	if err == nil {
		m.info.Dir, m.info.Notes = dir, m.allNotes()
		if n := m.skipped; n > 0 {
			left := "left out: " + prose.Count(n, "file") + ", because only regular files are copied"
			m.info.Notes = append(m.info.Notes, left)
		}
		err = writeInfo(m.info)
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		const advice = "is the disk full? nothing was merged"
		return &bench.InfraError{Op: "write the merged run directory", Err: err, Advice: advice}
	}
	return nil
}

func (m *merger) writeJournal(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	buf := bufio.NewWriterSize(f, 64<<10)
	enc := json.NewEncoder(buf)
	n := 0
	err = m.journal(func(e Entry) error {
		n++
		e.Seq = n
		return enc.Encode(e)
	})
	if err == nil {
		err = buf.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
