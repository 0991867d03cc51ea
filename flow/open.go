package flow

import "slices"

// OpenPhases tracks the phases of a journal that have begun and not ended, steps included,
// outermost first. Each has a value of type T, chosen by the caller. The run itself is not tracked:
// a run that was killed and resumed begins more than once.
type OpenPhases[T any] struct{ list []OpenPhase[T] }

// An OpenPhase is a phase that has begun and not ended.
type OpenPhase[T any] struct {
	Begin Entry
	Value T
}

// Begin adds the phase that e begins.
func (o *OpenPhases[T]) Begin(e Entry, value T) {
	if e.Phase != PhaseRun {
		o.list = append(o.list, OpenPhase[T]{e, value})
	}
}

// End removes the phase that e ends, and returns it. If it is not a step, End also removes and
// returns the later phases of its fixture: their code was abandoned. Their own ends may still come.
// Phases of other fixtures stay: in a merged run they belong to other DUTs. The result is empty if
// e ends no open phase.
func (o *OpenPhases[T]) End(e Entry) []OpenPhase[T] {
	for i, p := range slices.Backward(o.list) {
		if p.Begin.Phase != e.Phase || p.Begin.ID != e.ID || p.Begin.Name != e.Name {
			continue
		}
		ended, rest := []OpenPhase[T]{p}, o.list[:i:i]
		for _, later := range o.list[i+1:] {
			if e.Phase != PhaseStep && later.Begin.ID.Fixture() == e.ID.Fixture() {
				ended = append(ended, later)
			} else {
				rest = append(rest, later)
			}
		}
		o.list = rest
		return ended
	}
	return nil
}

// All returns the open phases, outermost first. The caller must not change the slice.
func (o *OpenPhases[T]) All() []OpenPhase[T] { return o.list }

// Clear removes all phases and returns them. The caller uses it when a resumed run begins.
func (o *OpenPhases[T]) Clear() []OpenPhase[T] {
	cleared := o.list
	o.list = nil
	return cleared
}
