package main

import (
	"math"
	"time"
)

// An engine executes the batches of its clients. Those of one client are executed in their order, whatever context they
// belong to; clients that have batches share the engine equally.
type engine struct {
	clients []*client
	now     time.Duration // that has counted
	lost    time.Duration // that has not
	elapsed time.Duration // when the last client finished, lost time included
}

// A step of a client.
type step struct {
	batch  time.Duration // GPU time to queue; 0 is no batch
	rigid  bool          // the batch cannot be preempted
	wait   bool          // and then wait for it
	delay  time.Duration // time to let pass
	period time.Duration // time from the start of the cycle to let pass
	sync   int           // how many steps back is the batch to wait for; 0 is none
}

// A client goes through its steps again and again.
type client struct {
	steps   []step
	repeats int

	cycle, pos   int
	began        time.Duration // when this cycle began
	until        time.Duration // a delay that it is in ends then
	queued, done float64       // GPU time in ns, since the start
	awaits       float64       // what done must reach before it goes on
	ends         []float64     // by step: what done is when its batch has been executed
}

func newEngine(steps []step, clients, repeats int) *engine {
	e := &engine{}
	for range clients {
		e.clients = append(e.clients, &client{steps: steps, repeats: repeats, ends: make([]float64, len(steps))})
	}
	e.proceed()
	return e
}

func (e *engine) finished() bool {
	for _, c := range e.clients {
		if !c.finished(e.now) {
			return false
		}
	}
	return true
}

func (c *client) finished(now time.Duration) bool {
	return c.cycle == c.repeats && c.done >= c.queued && c.until <= now
}

// lose lets time pass in which nothing happens.
func (e *engine) lose(d time.Duration) { e.lost += d }

// advance lets time pass in which the engine has a share of the GPU, from 0 to 1. What happens meanwhile, happens at
// its time within d.
func (e *engine) advance(d time.Duration, share float64) {
	for end := e.now + d; e.now < end && !e.finished(); {
		busy := 0
		for _, c := range e.clients {
			if c.done < c.queued {
				busy++
			}
		}
		rate := share / float64(max(busy, 1))
		next := end
		for _, c := range e.clients {
			next = min(next, c.next(e.now, rate))
		}
		e.execute(next-e.now, rate)
		e.now = next
		e.proceed()
	}
}

// next is when something will happen to a client, at the earliest in a ns.
func (c *client) next(now time.Duration, rate float64) time.Duration {
	const never = time.Duration(math.MaxInt64)
	at := never
	if c.until > now {
		at = c.until
	}
	if c.done < c.queued && rate > 0 {
		target := c.queued
		if c.awaits > c.done {
			target = c.awaits
		}
		if d := math.Ceil((target - c.done) / rate); d < float64(never-now) {
			at = min(at, now+max(1, time.Duration(d)))
		}
	}
	return at
}

func (e *engine) execute(d time.Duration, rate float64) {
	for _, c := range e.clients {
		c.done = min(c.queued, c.done+float64(d)*rate)
	}
}

// proceed lets every client go on as far as it gets at this moment.
func (e *engine) proceed() {
	for _, c := range e.clients {
		c.proceed(e.now)
	}
	if e.finished() {
		e.elapsed = e.now + e.lost
	}
}

func (c *client) proceed(now time.Duration) {
	for c.cycle < c.repeats && c.done >= c.awaits && c.until <= now {
		c.do(c.pos, now)
		if c.pos++; c.pos == len(c.steps) {
			c.pos, c.began = 0, max(now, c.until)
			c.cycle++
		}
	}
}

func (c *client) do(i int, now time.Duration) {
	s := c.steps[i]
	c.queued += float64(s.batch)
	c.ends[i] = c.queued
	switch {
	case s.wait:
		c.awaits = c.queued
	case s.sync > 0:
		c.awaits = c.ends[i-s.sync]
	case s.delay > 0:
		c.until = now + s.delay
	case s.period > 0:
		c.until = max(now, c.began+s.period)
	}
}
