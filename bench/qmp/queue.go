package qmp

import (
	"context"
	"sync"
)

// A queue is an unbounded FIFO: put never blocks.
type queue[T any] struct {
	mu    sync.Mutex
	items []T
	err   error         // why no more items follow
	ready chan struct{} // holds a token while the queue may have items
}

func newQueue[T any]() *queue[T] { return &queue[T]{ready: make(chan struct{}, 1)} }

func (q *queue[T]) put(v T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.items = append(q.items, v)
		q.signal()
	}
}

// close makes next return the remaining items, and then err.
func (q *queue[T]) close(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
		q.signal()
	}
}

func (q *queue[T]) next(ctx context.Context) (v T, err error) {
	for {
		var ok bool
		if v, ok, err = q.take(); ok || err != nil {
			return v, err
		}
		select {
		case <-q.ready:
		case <-ctx.Done():
			return v, context.Cause(ctx)
		}
	}
}

func (q *queue[T]) take() (v T, ok bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) > 0 {
		v, ok = q.items[0], true
		q.items = q.items[1:]
	} else {
		err = q.err
	}
	if len(q.items) > 0 || q.err != nil {
		q.signal() // for another waiting caller of next
	}
	return v, ok, err
}

func (q *queue[T]) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}
