package flow

import (
	"cmp"
	"fmt"
	"iter"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"
)

// noEnd is the reason of a phase without an end in the journal. Reports use the same words.
const noEnd = "it was running when the journal ended"

// plan sets the merged plan, which is the union of all plans in one order. It also sets the folders
// of the merged run directory.
func (m *merger) plan() {
	for _, p := range m.parts {
		p.complete()
	}
	items := map[ID]Item{}
	var ids []ID
	owner := map[ID]*part{} // the last part that counts, otherwise the last part
	dirs := make([]map[ID]string, len(m.parts))
	for i, p := range m.parts {
		dirs[i] = map[ID]string{}
		for _, it := range slices.Backward(p.run.Info.Plan) {
			dirs[i][it.ID] = it.Dir // if several items have one id, the first counts
		}
		for _, it := range p.run.Info.Plan {
			ids = append(ids, it.ID)
			if of := owner[it.ID]; of == nil || of.Extra || !p.Extra {
				items[it.ID], owner[it.ID] = it, p
			}
		}
	}
	for _, id := range m.Planned {
		if _, ok := items[id]; !ok {
			items[id] = Item{ID: id, Name: id.String()}
		}
		ids = append(ids, id)
	}
	n := 0
	for _, id := range planOrder(m.Order, ids) {
		for i, p := range m.parts {
			n = p.rename(dirs[i][id], n)
		}
		it := items[id]
		if p := owner[id]; p != nil {
			it.Dir = p.place(it.Dir)
		}
		m.info.Plan = append(m.info.Plan, it)
	}
	for _, p := range m.parts { // a journal may have folders that are in no plan
		for _, e := range p.steps {
			n = p.rename(e.Dir, n)
		}
	}
}

// planOrder returns ids, each once, sorted by their place in order: file, class, parameter, case.
// Ids that are not in order come last, in the order in which ids has them.
func planOrder(order, ids []ID) []ID {
	rank := map[ID]int{}
	for _, list := range [][]ID{order, ids} {
		for _, id := range list {
			if _, ok := rank[id]; !ok {
				rank[id] = len(rank)
			}
		}
	}
	class := func(id ID) ID {
		if id.Class == "" {
			return id // a case without a class
		}
		return ID{File: id.File, Class: id.Class}
	}
	first := map[ID]int{} // smallest rank in a file, a class, a fixture
	unique := map[ID]bool{}
	var out []ID
	for _, id := range ids {
		for _, of := range []ID{{File: id.File}, class(id), id.Fixture()} {
			if r, ok := first[of]; !ok || rank[id] < r {
				first[of] = rank[id]
			}
		}
		if !unique[id] {
			unique[id] = true
			out = append(out, id)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { // not slices.SortStableFunc: it makes the binary larger
		a, b := out[i], out[j]
		return cmp.Or(
			first[ID{File: a.File}]-first[ID{File: b.File}], first[class(a)]-first[class(b)],
			first[a.Fixture()]-first[b.Fixture()], rank[a]-rank[b],
		) < 0
	})
	return out
}

var folderNumber = regexp.MustCompile(`^[0-9]+-`)

// rename sets the new name of the top folder of dir in the merged run directory. It returns the new
// number of folders.
func (p *part) rename(dir string, n int) int {
	head, _, _ := strings.Cut(filepath.ToSlash(dir), "/")
	if _, known := p.renamed[head]; known || head == "" || head == "." || !filepath.IsLocal(head) {
		return n
	}
	p.renamed[head] = fmt.Sprintf("%02d-%s", n+1, folderNumber.ReplaceAllString(head, ""))
	return n + 1
}

// place returns the path of the part's folder dir in the merged run directory; "" if dir leads out
// of the part.
func (p *part) place(dir string) string {
	head, rest, inside := strings.Cut(filepath.ToSlash(dir), "/")
	to, ok := p.renamed[head]
	if !ok || !filepath.IsLocal(dir) {
		return ""
	}
	if inside {
		to += "/" + rest
	}
	return to
}

// complete sets p.steps and p.open.
func (p *part) complete() {
	for e, err := range p.completed(inMemory(p.run.Entries)) {
		if err == nil { // always: nothing is read from the disk
			p.steps = append(p.steps, e)
		}
	}
}

func inMemory(entries []Entry) iter.Seq2[Entry, error] { return (&RunDir{Entries: entries}).All() }

// completed returns the entries of the part without those of the run itself. It adds the missing
// ends. It sets p.open to the phases open at the end, and p.last to the newest time. An error is
// the last value.
func (p *part) completed(entries iter.Seq2[Entry, error]) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		p.open, p.last = nil, time.Time{}
		quarantined := map[ID]bool{}
		for _, it := range p.run.Info.Plan {
			quarantined[it.ID] = it.Quarantine != nil
		}
		cutOff := func() bool {
			for _, e := range slices.Backward(p.open) {
				if !yield(cutOffAt(e, p.last, quarantined[e.ID]), nil) {
					return false
				}
			}
			return true
		}
		for e, err := range entries {
			if err != nil {
				yield(e, err)
				return
			}
			if e.Time.After(p.last) {
				p.last = e.Time
			}
			switch {
			case e.Phase != PhaseRun:
				if !yield(e, nil) {
					return
				}
				p.see(e)
			case e.Event == Begin: // resume wrote the ends, except in a journal made by hand
				if !cutOff() {
					return
				}
				p.open = nil
			}
		}
		cutOff()
	}
}

// see updates p.open for the entry of a phase.
func (p *part) see(e Entry) {
	switch {
	case e.Phase == PhaseStep:
	case e.Event == Begin:
		p.open = append(p.open, e)
	case e.Event == End:
		for i, o := range slices.Backward(p.open) {
			if o.Phase == e.Phase && o.ID == e.ID {
				p.open = slices.Delete(p.open, i, i+1)
				break
			}
		}
	}
}

// cutOffAt returns an end at the time at for a phase whose end is not in the journal.
func cutOffAt(e Entry, at time.Time, quarantined bool) Entry {
	e.Event, e.Timeout, e.Mark, e.Reason = End, 0, "", noEnd
	e.Result = Error
	if e.Phase == PhaseCase {
		e.Result, e.Quarantined = Incomplete, quarantined
	}
	e.Duration, e.Time = at.Sub(e.Time), at
	return e
}

// A cursor reads the entries of a part one by one, log lines included.
type cursor struct {
	*part
	read   func() (Entry, error, bool)
	stop   func()
	head   Entry // the next entry, if there is one
	more   bool
	err    error
	at     int       // index of the next entry in part.steps
	nexts  []int     // for each index of part.steps: index of the next begin or end of a phase
	now    time.Time // newest time of the part so far: a clock may be set back
	inside ID        // fixture whose entries the part is in; zero for none
}

// newCursor returns a cursor at the first entry. The caller must call its stop method.
func newCursor(p *part) *cursor {
	c := &cursor{part: p, nexts: make([]int, len(p.steps)+1)}
	c.nexts[len(p.steps)] = len(p.steps)
	for i, e := range slices.Backward(p.steps) {
		if c.nexts[i] = c.nexts[i+1]; opensAny(e) {
			c.nexts[i] = i
		}
	}
	c.read, c.stop = iter.Pull2(p.completed(p.run.All()))
	c.advance()
	return c
}

// advance reads the next entry into head.
func (c *cursor) advance() {
	c.head, c.err, c.more = c.read()
}

// take returns the entry in head and advances.
func (c *cursor) take() Entry {
	e := c.head
	if e.Event != Log {
		c.at++
	}
	c.advance()
	return e
}

// next returns the fixture of the next phase that begins or ends; zero at the end.
func (c *cursor) next() ID {
	if i := c.nexts[min(c.at, len(c.steps))]; i < len(c.steps) {
		return c.steps[i].ID.Fixture()
	}
	return ID{}
}

func opensAny(e Entry) bool {
	_, ok := opens(e)
	return ok
}

// opens returns the fixture of an entry. ok reports whether the entry is the begin or end of a
// phase, not of a step.
func opens(e Entry) (fixture ID, ok bool) {
	return e.ID.Fixture(), e.Phase != PhaseStep && (e.Event == Begin || e.Event == End) && e.ID != ID{}
}

// weave calls out with the entries of all parts in one order. Two parts are never inside the same
// fixture at once: a report could not separate their entries.
func (m *merger) weave(out func(Entry) error) error {
	var cursors []*cursor
	for _, p := range m.parts {
		c := newCursor(p)
		defer c.stop()
		cursors = append(cursors, c)
	}
	w, extra := m.newWeaver()
	for {
		c := pick(cursors, extra)
		if c == nil {
			return nil
		}
		if c.err != nil {
			return fmt.Errorf("%s: %w", c.Dir, c.err)
		}
		e := c.take()
		if id, ok := opens(e); ok {
			c.inside = id
			if c.Extra {
				extra[id]--
			}
		}
		if c.next() != c.inside {
			c.inside = ID{}
		}
		if e, ok := w.renamed(c.part, e); ok {
			if err := out(e); err != nil {
				return err
			}
		}
	}
}

// pick returns the cursor whose next entry comes next: the oldest entry that is allowed now. It
// returns nil if all cursors are at their end.
func pick(cursors []*cursor, extra map[ID]int) *cursor {
	var best, oldest *cursor
	for _, c := range cursors {
		if !c.more {
			continue
		}
		e := c.head
		if e.Time.After(c.now) {
			c.now = e.Time
		}
		if oldest == nil || c.now.Before(oldest.now) {
			oldest = c
		}
		id, ok := opens(e)
		if ok && id != c.inside {
			taken := slices.ContainsFunc(cursors, func(o *cursor) bool { return o != c && o.inside == id })
			if taken || !c.Extra && extra[id] > 0 {
				continue
			}
		}
		if best == nil || c.now.Before(best.now) {
			best = c
		}
	}
	if best == nil {
		return oldest // unreachable: a part inside a fixture can always continue
	}
	return best
}

type attemptKey struct {
	*part
	id ID
	n  int
}

// A weaver renumbers attempts, renames folders, and adds the name of the DUT to entries.
type weaver struct {
	attempts map[ID]int
	numbers  map[attemptKey]int
	several  bool // the run has more than one DUT
	real     map[ID]bool
	notRun   map[ID]*part
}

// newWeaver returns a weaver. extra is the number of entries, by fixture, that are still to come
// from parts that do not count.
func (m *merger) newWeaver() (w weaver, extra map[ID]int) {
	extra = map[ID]int{}
	hasResult := map[ID]bool{} // cases with a result other than notrun
	names := map[string]bool{}
	for _, p := range m.parts {
		for _, e := range p.steps {
			if id, ok := opens(e); ok && p.Extra {
				extra[id]++
			}
			if e.Phase == PhaseCase && e.Event == End && e.Result != NotRun {
				hasResult[e.ID] = true
			}
		}
		names[p.name] = true
		for _, d := range p.run.Info.DUTs {
			names[d.Name] = true
		}
	}
	return weaver{
		attempts: map[ID]int{}, numbers: map[attemptKey]int{}, several: len(names) > 1,
		real: hasResult, notRun: map[ID]*part{},
	}, extra
}

// keepNotRun reports whether the result notrun of a case is kept. It is dropped if another attempt
// has a result, or if another part has the same notrun.
func (w *weaver) keepNotRun(p *part, id ID) bool {
	if w.notRun[id] == nil {
		w.notRun[id] = p
	}
	return !w.real[id] && w.notRun[id] == p
}

// renamed returns the entry of a part in the form of the merged journal. ok is false if the merged
// journal does not have it.
func (w *weaver) renamed(p *part, e Entry) (renamed Entry, ok bool) {
	if e.Phase == PhaseCase {
		if e.Event == End && e.Result == NotRun && !w.keepNotRun(p, e.ID) {
			return e, false
		}
		key := attemptKey{p, e.ID, max(1, e.Attempt)}
		if w.numbers[key] == 0 {
			w.attempts[e.ID]++
			w.numbers[key] = w.attempts[e.ID]
		}
		if e.Attempt = w.numbers[key]; e.Attempt == 1 {
			e.Attempt = 0
		}
	}
	e.Dir = p.place(e.Dir)
	if _, ok := opens(e); w.several && (ok || e.Phase == PhaseRestore) {
		name := p.name
		if of := p.run.Info.DUTs; len(of) > 0 {
			name = of[0].Name
		}
		e.DUT = cmp.Or(e.DUT, name)
	}
	return e, true
}

// journal calls write with all entries of the merged run: the begin, the entries of the parts, a
// result for each case that never began, and the end. It keeps the entries that are not log lines.
func (m *merger) journal(write func(Entry) error) error {
	known := map[ID]bool{}
	put := func(e Entry) error {
		if e.Event != Log {
			m.entries = append(m.entries, e)
			m.summary.Add(e)
		}
		if e.Phase == PhaseCase && e.Event == End {
			known[e.ID] = true
		}
		return write(e)
	}
	begin := Entry{Event: Begin, Phase: PhaseRun, Time: m.info.Start, BootID: m.info.BootID, Timeout: m.info.Timeout}
	if first := m.parts[0].run.Entries; len(first) > 0 && first[0].Phase == PhaseRun {
		begin.Time = first[0].Time
	}
	if err := put(begin); err != nil {
		return err
	}
	if err := m.weave(put); err != nil {
		return err
	}
	last := begin.Time
	for _, p := range m.parts {
		if p.last.After(last) {
			last = p.last
		}
	}
	for _, it := range m.info.Plan {
		if known[it.ID] {
			continue
		}
		err := put(Entry{
			Event: End, Phase: PhaseCase, ID: it.ID, Dir: it.Dir, Time: last, Result: NotRun, Reason: "not started",
			Quarantined: it.Quarantine != nil,
		})
		if err != nil {
			return err
		}
	}
	e := m.verdict(Entry{Event: End, Phase: PhaseRun, Time: last, Duration: last.Sub(begin.Time)})
	s := m.summary
	s.Add(e)
	code := s.ExitCode()
	e.ExitCode = &code
	return put(e)
}

// verdict sets the result and reason of the merged run. Only a part that counts, ended early, and
// left cases without a result decides. A part without an end does not: its cases are incomplete or
// notrun, and that counts already.
func (m *merger) verdict(e Entry) Entry {
	var reasons []string
	rank := map[Result]int{Fail: 1, Error: 2, Incomplete: 3}
	for _, p := range m.parts {
		if !p.run.Ended() {
			continue
		}
		end := p.run.Entries[len(p.run.Entries)-1]
		if len(m.parts) == 1 {
			var s Summary
			for _, e := range p.run.Entries {
				s.Add(e)
			}
			e.Result, e.Reason, e.Duration = end.Result, end.Reason, s.Duration
			return e
		}
		if end.Reason == "" || p.Extra || !m.leftBy(p) {
			continue
		}
		reasons = append(reasons, p.name+": "+end.Reason)
		if rank[end.Result] > rank[e.Result] {
			e.Result = end.Result
		}
	}
	e.Reason = strings.Join(reasons, "; ")
	return e
}

// leftBy reports whether a case of the part's plan still has no result.
func (m *merger) leftBy(p *part) bool {
	return slices.ContainsFunc(p.run.Info.Plan, func(it Item) bool {
		switch m.summary.last[it.ID].Result {
		case "", NotRun, Incomplete:
			return true
		}
		return false
	})
}
