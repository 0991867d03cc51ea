package flow

import (
	"fmt"
	"slices"
	"sort"
	"time"

	"vmtb/bench"
)

// Durations hold how long cases and fixtures took in earlier runs. The zero value holds nothing.
type Durations struct {
	cases    map[ID]time.Duration
	fixtures map[ID]time.Duration // of all phases except the cases, by [ID.Fixture]
}

// PastDurations returns the durations of runs. If several runs have a case or fixture, the last of
// them counts. Cases that were cut off, skipped or not run are ignored.
func PastDurations(runs ...*RunDir) Durations {
	d := Durations{map[ID]time.Duration{}, map[ID]time.Duration{}}
	for _, run := range runs {
		fixtures, cases := map[ID]time.Duration{}, map[ID]bool{}
		for _, e := range run.Entries {
			if e.Event != End || e.ID == (ID{}) {
				continue
			}
			switch e.Phase {
			case PhaseCase:
				switch e.Result {
				case Pass, DmesgWarn, Fail, DmesgFail, Timeout:
					d.cases[e.ID] = e.Duration
					cases[e.ID.Fixture()] = true
				}
			case PhaseNeeds, PhaseSetUp, PhaseReset, PhaseTearDown, PhaseRestore:
				fixtures[e.ID.Fixture()] += e.Duration
			}
		}
		for id, took := range fixtures {
			if cases[id] { // otherwise the set-up did not finish
				d.fixtures[id] = took
			}
		}
	}
	return d
}

// ReadDurations returns the durations of the runs in dirs. A directory that holds no run is a
// [bench.UsageError].
func ReadDurations(dirs ...string) (Durations, error) {
	var runs []*RunDir
	for _, dir := range dirs {
		run, err := OpenRun(dir)
		if err != nil {
			err = fmt.Errorf("--durations: %w", err)
			return Durations{}, &bench.UsageError{Err: err, Advice: "give the directory of a run"}
		}
		runs = append(runs, run)
	}
	return PastDurations(runs...), nil
}

// A Unit is the work that one machine runs in one go: a class with a parameter, or a case without a
// class.
type Unit struct {
	ID    ID // of the fixture
	Items []Item
	Took  time.Duration // expected duration; 0 if no duration is known at all
}

// Units returns the units of items, in the order of items. A case or fixture without a known
// duration gets the median of the known ones.
func (d Durations) Units(items []Item) []Unit {
	var units []Unit
	at := map[ID]int{}
	for _, it := range items {
		id := it.ID.Fixture()
		i, ok := at[id]
		if !ok {
			i = len(units)
			at[id] = i
			units = append(units, Unit{ID: id, Took: known(d.fixtures, id)})
		}
		units[i].Items = append(units[i].Items, it)
		units[i].Took += known(d.cases, it.ID)
	}
	return units
}

// known returns the duration of id in took, or the median of all if took does not have id.
func known(took map[ID]time.Duration, id ID) time.Duration {
	if t, ok := took[id]; ok || len(took) == 0 {
		return t
	}
	all := make([]time.Duration, 0, len(took))
	for _, t := range took {
		all = append(all, t)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// LongestFirst sorts units by duration, the longest first. Units of equal duration keep their
// order.
func LongestFirst(units []Unit) {
	sort.SliceStable(units, func(i, j int) bool { return units[i].Took > units[j].Took })
}

// TakeBy returns the items of this shard. It deals out units by duration, the longest first, each
// to the shard with the least work so far. Machines with the same items and durations get the same
// split. If d holds nothing, TakeBy does the same as [Shard.Take].
func (s Shard) TakeBy(d Durations, items []Item) []Item {
	if len(d.cases) == 0 || s.Count == 0 {
		return s.Take(items)
	}
	units := d.Units(items)
	LongestFirst(units)
	load := make([]time.Duration, s.Count)
	mine := map[ID]bool{}
	for _, u := range units {
		least := 0
		for i, l := range load {
			if l < load[least] {
				least = i
			}
		}
		load[least] += u.Took
		if least == s.Index-1 {
			mine[u.ID] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(items), func(it Item) bool { return !mine[it.ID.Fixture()] })
}
