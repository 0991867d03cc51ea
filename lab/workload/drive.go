package main

import "time"

// A driver runs an engine until all its clients have finished. share tells which share of GPU time there is now.
type driver func(e *engine, share func() (float64, error)) error

const (
	tick = 20 * time.Millisecond
	// maxTick is how much time counts at most between two looks at the share: what goes beyond it
	// is taken for a jump of the clock. A guest with kvm-clock sees none when it is paused and goes
	// on, another one may. It is not less, because on a busy machine it happens that emulated
	// programs do not run for seconds, in which a GPU would work on.
	maxTick = 5 * time.Second
)

func driveByClock(e *engine, share func() (float64, error)) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	last := time.Now()
	return drive(e, share, func() time.Duration {
		<-ticker.C
		now := time.Now()
		d := now.Sub(last)
		last = now
		return d
	})
}

// drive lets the engine run for the time that passes, which next waits for and returns.
func drive(e *engine, share func() (float64, error), next func() time.Duration) error {
	for !e.finished() {
		passed := next()
		s, err := share()
		if err != nil {
			return err
		}
		counts := min(max(passed, 0), maxTick)
		e.lose(passed - counts)
		e.advance(counts, s)
	}
	return nil
}
