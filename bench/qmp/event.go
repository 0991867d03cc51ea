package qmp

import (
	"context"
	"encoding/json"
	"time"
)

// An Event is something that happened in QEMU.
type Event struct {
	Name string          // "STOP", "JOB_STATUS_CHANGE", ...
	Data json.RawMessage // an object, or nil
	Time time.Time       // by QEMU's clock
}

// A Subscription gets the events of a [Client].
type Subscription struct {
	client *Client
	match  func(Event) bool
	queue  *queue[Event]
}

// Subscribe starts to collect the events for which match is true, or all if it is nil. Subscribe
// before the command that causes what you wait for. match is called by the goroutine that reads: it
// must be quick and must not use the client. Some events come at most once a second (RTC_CHANGE,
// WATCHDOG, ...): for state, ask QEMU, and let events say when.
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

// Next waits for the next event. After the end of the connection it gives those that came before,
// then an error matching [ErrClosed].
func (s *Subscription) Next(ctx context.Context) (Event, error) { return s.queue.next(ctx) }

// Close ends the subscription. A subscription that nobody closes nor drains collects events in
// memory.
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
