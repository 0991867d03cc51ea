package qmp

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync/atomic"
	"time"
)

const (
	transcriptLine  = 1 << 20         // longer lines are shortened to transcriptHead
	transcriptHead  = 1 << 10         //
	transcriptQueue = 8 << 20         // limit of the bytes that wait for a slow writer
	transcriptFlush = 2 * time.Second // how long Close waits for the writer
)

// A transcript writes the lines of a connection as JSONL. It has its own goroutine, so a slow,
// stuck or failing writer does not affect the connection. A nil transcript writes nothing.
type transcript struct {
	queue  *queue[entry]
	queued atomic.Int64 // bytes
	lost   atomic.Int64 // lines dropped since the last one written
	ended  chan struct{}
}

type entry struct {
	T   time.Time `json:"t"`
	Dir string    `json:"dir"` // "in", "out"
	// The message, or a string if it is not JSON or was shortened.
	Line  json.RawMessage `json:"line"`
	Bytes int             `json:"bytes,omitempty"` // the full length of a shortened line
	Lost  int64           `json:"lost,omitempty"`  // lines dropped before this one
}

func newTranscript(w io.Writer) *transcript {
	if w == nil {
		return nil
	}
	t := &transcript{queue: newQueue[entry](), ended: make(chan struct{})}
	go t.write(w)
	return t
}

// add adds a line, which must not change afterwards.
func (t *transcript) add(dir string, line []byte) {
	if t == nil || len(line) == 0 {
		return
	}
	e := entry{T: time.Now(), Dir: dir, Line: line}
	if len(line) > transcriptLine {
		e.Line, e.Bytes = line[:transcriptHead:transcriptHead], len(line)
	}
	size := int64(len(e.Line))
	if t.queued.Add(size) > transcriptQueue {
		t.queued.Add(-size)
		t.lost.Add(1)
		return
	}
	t.queue.put(e)
}

func (t *transcript) write(w io.Writer) {
	defer close(t.ended)
	for {
		e, err := t.queue.next(context.Background())
		if err != nil {
			return
		}
		t.queued.Add(-int64(len(e.Line)))
		e.Lost = t.lost.Swap(0)
		if !json.Valid(e.Line) {
			e.Line, _ = json.Marshal(string(e.Line)) // a string can always be marshalled
		}
		line, err := json.Marshal(e)
		if err == nil {
			_, err = w.Write(append(line, '\n'))
		}
		if err != nil {
			t.queue.close(err) // accepts no more lines
			return
		}
	}
}

// close ends the transcript after the lines added so far.
func (t *transcript) close() {
	if t != nil {
		t.queue.close(errors.New("transcript closed"))
	}
}

// flush waits for a limited time until a closed transcript is written.
func (t *transcript) flush() {
	if t == nil {
		return
	}
	select {
	case <-t.ended:
	case <-time.After(transcriptFlush):
	}
}
