package qmp

import (
	"context"
	"encoding/json"
	"time"
)

// An Event is an event of QEMU.
type Event struct {
	Name string          // "STOP", "JOB_STATUS_CHANGE", ...
	Data json.RawMessage // an object, or nil
	Time time.Time       // by QEMU's clock
}

// A Subscription receives the events of a [Client].
type Subscription struct {
	client *Client
	match  func(Event) bool
	queue  *queue[Event]
}

// Subscribe starts to collect the events for which match is true, or all if match is nil. Subscribe
// before you run the command that causes the event. The reader calls match: it must be quick and
// must not use the client. QEMU sends some events at most once a second (RTC_CHANGE, WATCHDOG,
// ...). Ask QEMU for its state, and use events only to know when to ask.
func (c *Client) Subscribe(match func(Event) bool) *Subscription {
	s := &Subscription{client: c, match: match, queue: newQueue[Event]()}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		s.queue.close(c.ended)
	} else {
		c.subs[s] = struct{}{}
	}
	return s
}

// Next waits for the next event. After the connection has ended, it returns the remaining events,
// and then an error matching [ErrClosed].
func (s *Subscription) Next(ctx context.Context) (Event, error) { return s.queue.next(ctx) }

// Close ends the subscription. Without Close or Next, a subscription collects events in memory.
func (s *Subscription) Close() {
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	delete(s.client.subs, s)
	s.queue.close(ErrClosed)
}

func (c *Client) publish(e Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.subs {
		if s.match == nil || s.match(e) {
			s.queue.put(e)
		}
	}
}

// endEvents ends all subscriptions after the last event.
func (c *Client) endEvents() {
	<-c.lines.ended
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = c.Err()
	for s := range c.subs {
		s.queue.close(c.ended)
	}
	clear(c.subs)
}
