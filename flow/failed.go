package flow

import "slices"

// Failed returns the items of the run's plan whose last result is not good: they failed, were cut
// off, did not run, or were skipped because another case failed. It also returns the cases before
// them that their After names.
func (d *RunDir) Failed(items []Item) []Item {
	last := map[ID]Result{}
	for _, it := range d.Info.Plan {
		last[it.ID] = NotRun
	}
	for _, e := range d.Entries {
		if e.Phase != PhaseCase || e.Event != End {
			continue
		}
		if last[e.ID] = e.Result; e.After != "" {
			last[e.ID] = NotRun
		}
	}
	failed := map[ID]bool{}
	for _, it := range items {
		failed[it.ID] = last[it.ID] != "" && !last[it.ID].good()
	}
	for _, it := range slices.Backward(items) { // backward: the case named by After may have an After of its own
		if failed[it.ID] && it.After != "" {
			failed[it.before()] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(items), func(it Item) bool { return !failed[it.ID] })
}
