package flow

import (
	"fmt"
	"slices"
	"sort"
	"time"

	"vmtb/bench"
)

// Durations say how long cases and fixtures took in earlier runs. The zero value knows nothing.
type Durations struct {
	cases    map[ID]time.Duration
	fixtures map[ID]time.Duration // of all phases that are not cases', by [ID.Fixture]
}

// PastDurations reads them from runs. Of a case or fixture that several runs have, the last of runs
// counts. What was cut off, did not run, or was skipped tells nothing.
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
			if cases[id] { // else it did not get to the end of its set-up
				d.fixtures[id] = took
			}
		}
	}
	return d
}

// ReadDurations reads them from run directories.
func ReadDurations(dirs ...string) (Durations, error) {
	var runs []*RunDir
	for _, dir := range dirs {
		run, err := OpenRun(dir)
		if err != nil {
			err = fmt.Errorf("--durations: %w", err)
			return Durations{}, &bench.UsageError{Err: err, Advice: "it wants the directory of a run"}
		}
		runs = append(runs, run)
	}
	return PastDurations(runs...), nil
}

// A Unit is what one machine runs in one go: a class with a parameter, or a case that stands alone.
type Unit struct {
	ID    ID // of the fixture
	Items []Item
	Took  time.Duration // expected; 0 if nothing is known of any unit
}

// Units are the units of items, in the order of items. What is not known of a case or a fixture is
// taken to be the median of what is.
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

// known is what took has of id, or the median of all.
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

// LongestFirst sorts units: those that take longest come first, those that take as long stay in
// their order.
func LongestFirst(units []Unit) {
	sort.SliceStable(units, func(i, j int) bool { return units[i].Took > units[j].Took })
}

// TakeBy is the items of this shard when units are dealt out by what they took: longest first, each
// to the shard that has least to do. Every machine that is given the same items and durations deals
// alike. If d knows nothing it is [Shard.Take].
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
