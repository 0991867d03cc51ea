package flow

import "slices"

// Failed is those of items that were in the run's plan and have no good result, in the end: they
// failed, were cut off, did not run, or were skipped for another's failure. The cases that they
// come after are among them.
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
	for _, it := range slices.Backward(items) { // cases that come after one that comes after one
		if failed[it.ID] && it.After != "" {
			failed[it.before()] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(items), func(it Item) bool { return !failed[it.ID] })
}
