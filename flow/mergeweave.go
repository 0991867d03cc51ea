package flow

import (
	"cmp"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"
)

// noEnd is the reason of what was in flight where a journal ends; reports have the same words.
const noEnd = "it was running where the journal ends"

// plan is the union of all plans, in one order, and the folders of the merged run directory.
func (m *merger) plan() {
	for _, p := range m.parts {
		p.complete()
	}
	items := map[ID]Item{}
	var ids []ID
	owner := map[ID]*part{} // the last part that counts, else the last one
	for _, p := range m.parts {
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
		for _, p := range m.parts {
			if i := slices.IndexFunc(p.run.Info.Plan, func(it Item) bool { return it.ID == id }); i >= 0 {
				n = p.rename(p.run.Info.Plan[i].Dir, n)
			}
		}
		it := items[id]
		if p := owner[id]; p != nil {
			it.Dir = p.place(it.Dir)
		}
		m.info.Plan = append(m.info.Plan, it)
	}
	for _, p := range m.parts { // a journal may speak of what no plan has
		for _, e := range p.steps {
			n = p.rename(e.Dir, n)
		}
	}
}

// planOrder is ids, each once, by their place in order: file, class, parameter, case. What is not
// in order comes after it, as it was first seen.
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
			return id // a case that stands alone
		}
		return ID{File: id.File, Class: id.Class}
	}
	first := map[ID]int{} // the least rank in a file, a class, a fixture
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
	sort.SliceStable(out, func(i, j int) bool { // not slices.SortStableFunc: its instance for each type is large
		a, b := out[i], out[j]
		return cmp.Or(
			first[ID{File: a.File}]-first[ID{File: b.File}], first[class(a)]-first[class(b)],
			first[a.Fixture()]-first[b.Fixture()], rank[a]-rank[b],
		) < 0
	})
	return out
}

var folderNumber = regexp.MustCompile(`^[0-9]+-`)

// rename gives the folder that dir lies in its name in the merged run directory, and returns the
// new count of folders.
func (p *part) rename(dir string, n int) int {
	head, _, _ := strings.Cut(filepath.ToSlash(dir), "/")
	if _, known := p.renamed[head]; known || head == "" || head == "." || !filepath.IsLocal(head) {
		return n
	}
	p.renamed[head] = fmt.Sprintf("%02d-%s", n+1, folderNumber.ReplaceAllString(head, ""))
	return n + 1
}

// place is where dir, of the part, is in the merged run directory; "" for a path that leads out of
// the part.
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

// complete fills p.steps: the entries of the part without those of the run itself, and with ends
// for what has none.
func (p *part) complete() {
	var last time.Time
	quarantined := map[ID]bool{}
	for _, it := range p.run.Info.Plan {
		quarantined[it.ID] = it.Quarantine != nil
	}
	for _, e := range p.run.Entries {
		if e.Time.After(last) {
			last = e.Time
		}
		if e.Phase == PhaseRun {
			if e.Event == Begin { // resumed: that has ended what was in flight, but for a journal written by hand
				p.cutOff(last, quarantined)
			}
			continue
		}
		p.steps = append(p.steps, e)
		if e.Phase == PhaseStep {
			continue
		}
		switch e.Event {
		case Begin:
			p.open = append(p.open, e)
		case End:
			for i, o := range slices.Backward(p.open) {
				if o.Phase == e.Phase && o.ID == e.ID {
					p.open = slices.Delete(p.open, i, i+1)
					break
				}
			}
		}
	}
	open := p.open
	p.cutOff(last, quarantined)
	p.open = open
}

func (p *part) cutOff(at time.Time, quarantined map[ID]bool) {
	for _, e := range slices.Backward(p.open) {
		e.Event, e.Timeout, e.Mark, e.Reason = End, 0, "", noEnd
		e.Result = Error
		if e.Phase == PhaseCase {
			e.Result, e.Quarantined = Incomplete, quarantined[e.ID]
		}
		e.Duration, e.Time = at.Sub(e.Time), at
		p.steps = append(p.steps, e)
	}
	p.open = nil
}

// A cursor goes through the entries of a part.
type cursor struct {
	*part
	at     int
	now    time.Time // the newest of the part so far: a clock may be set back
	inside ID        // the fixture that this part is at, zero for none
}

// opens is the fixture that an entry is about, if it is a phase that begins or ends.
func opens(e Entry) (fixture ID, ok bool) {
	return e.ID.Fixture(), e.Phase != PhaseStep && (e.Event == Begin || e.Event == End) && e.ID != ID{}
}

// next is the fixture of the next phase that begins or ends from entry i on, zero at the end.
func (c *cursor) next(i int) ID {
	for _, e := range c.steps[i:] {
		if id, ok := opens(e); ok {
			return id
		}
	}
	return ID{}
}

// weave makes one journal of all. Two parts are never inside of the same fixture at once: a report
// could not tell what is whose.
func (m *merger) weave() {
	var cursors []*cursor
	extra := map[ID]int{}      // entries of fixtures that are still to come from parts that do not count
	hasResult := map[ID]bool{} // cases that have a result other than not run
	for _, p := range m.parts {
		cursors = append(cursors, &cursor{part: p})
		for _, e := range p.steps {
			if id, ok := opens(e); ok && p.Extra {
				extra[id]++
			}
			if e.Phase == PhaseCase && e.Event == End && e.Result != NotRun {
				hasResult[e.ID] = true
			}
		}
	}
	names := map[string]bool{}
	for _, p := range m.parts {
		names[p.name] = true
		for _, d := range p.run.Info.DUTs {
			names[d.Name] = true
		}
	}
	w := weaver{
		m: m, attempts: map[ID]int{}, numbers: map[attemptKey]int{}, several: len(names) > 1,
		real: hasResult, notRun: map[ID]*part{},
	}
	for {
		c := pick(cursors, extra)
		if c == nil {
			return
		}
		e := c.steps[c.at]
		if id, ok := opens(e); ok {
			c.inside = id
			if c.Extra {
				extra[id]--
			}
		}
		if c.at++; c.next(c.at) != c.inside {
			c.inside = ID{}
		}
		w.add(c.part, e)
	}
}

// pick is the part whose next entry is the oldest of those that may come next, nil when all are
// through.
func pick(cursors []*cursor, extra map[ID]int) *cursor {
	var best, oldest *cursor
	for _, c := range cursors {
		if c.at == len(c.steps) {
			continue
		}
		e := c.steps[c.at]
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
		return oldest // a part inside of a fixture can always go on, so this is for a mistake here
	}
	return best
}

type attemptKey struct {
	*part
	id ID
	n  int
}

// A weaver numbers attempts anew, renames folders, and says which DUT did what.
type weaver struct {
	m        *merger
	attempts map[ID]int
	numbers  map[attemptKey]int
	several  bool // there is more than one DUT
	real     map[ID]bool
	notRun   map[ID]*part
}

// keepNotRun reports whether the news that a case has not run is to be kept: not if another attempt
// has a result, nor if another part has said the same.
func (w *weaver) keepNotRun(p *part, id ID) bool {
	if w.notRun[id] == nil {
		w.notRun[id] = p
	}
	return !w.real[id] && w.notRun[id] == p
}

func (w *weaver) add(p *part, e Entry) {
	if e.Phase == PhaseCase {
		if e.Event == End && e.Result == NotRun && !w.keepNotRun(p, e.ID) {
			return
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
	w.m.entries = append(w.m.entries, e)
}

// end puts the beginning and the end of the run around the entries. What was never begun gets a
// result, too.
func (m *merger) end() {
	begin := Entry{Event: Begin, Phase: PhaseRun, Time: m.info.Start, BootID: m.info.BootID, Timeout: m.info.Timeout}
	var last time.Time
	for i, p := range m.parts {
		for j, e := range p.run.Entries {
			if e.Time.After(last) {
				last = e.Time
			}
			if i == 0 && j == 0 && e.Phase == PhaseRun {
				begin.Time = e.Time
			}
		}
	}
	if last.Before(begin.Time) {
		last = begin.Time
	}
	known := map[ID]bool{}
	for _, e := range m.entries {
		if e.Phase == PhaseCase && e.Event == End {
			known[e.ID] = true
		}
	}
	for _, it := range m.info.Plan {
		if !known[it.ID] {
			m.entries = append(m.entries, Entry{
				Event: End, Phase: PhaseCase, ID: it.ID, Dir: it.Dir, Time: last, Result: NotRun, Reason: "never begun",
				Quarantined: it.Quarantine != nil,
			})
		}
	}
	m.entries = slices.Insert(m.entries, 0, begin)
	for _, e := range m.entries {
		m.summary.Add(e)
	}
	e := m.verdict(Entry{Event: End, Phase: PhaseRun, Time: last, Duration: last.Sub(begin.Time)})
	m.summary.Add(e)
	code := m.summary.ExitCode()
	e.ExitCode = &code
	m.entries = append(m.entries, e)
}

// verdict says how the run ended: as a part did that counts, did not come to its planned end, and
// left cases that nobody else ran. A part without any end is no reason: its cases are incomplete or
// have not run, and that counts.
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

// leftBy reports whether a case of the part's plan has no result in the end.
func (m *merger) leftBy(p *part) bool {
	return slices.ContainsFunc(p.run.Info.Plan, func(it Item) bool {
		switch m.summary.last[it.ID].Result {
		case "", NotRun, Incomplete:
			return true
		}
		return false
	})
}
