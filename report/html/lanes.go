package html

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"
)

// A lane is a machine on the timeline, made from the events in its QMP transcript.
type lane struct {
	name     string
	segments []segment
	to       time.Time // time of the transcript's last line
}

// A segment is a time in which a machine was running or paused, or a moment with a mark.
type segment struct {
	from, to     time.Time
	state, title string
}

// maxTranscript is the largest number of bytes of a transcript that are read.
const maxTranscript = 8 << 20

// qmpEvents maps a QMP event to the state of the machine after it: running, paused, or "" for no
// change.
var qmpEvents = map[string]string{
	"RESUME": "running", "STOP": "paused", "SHUTDOWN": "", "RESET": "", "GUEST_PANICKED": "", "WATCHDOG": "",
	"SUSPEND": "paused",
	"WAKEUP":  "running", "MIGRATION": "",
}

// readLane returns the lane of a machine from its folder. A machine without a transcript has an
// empty lane.
func readLane(fsys fs.FS, dir string) (lane, error) {
	l := lane{name: path.Base(dir)}
	f, err := fsys.Open(path.Join(dir, "qmp.jsonl"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return l, nil
	}
	if err != nil {
		return l, err
	}
	defer f.Close()
	return l, l.read(io.LimitReader(f, maxTranscript))
}

// read reads a transcript into the lane. It skips lines that it cannot parse: a crash may cut a
// transcript off.
func (l *lane) read(r io.Reader) error {
	in := bufio.NewReaderSize(r, 64<<10)
	state, title, since := "paused", "not started", time.Time{}
	for {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			continue // events are short: a long line is not an event
		}
		if at, event, ok := parseQMP(line); ok {
			if since.IsZero() {
				since = at
			}
			l.to = at
			if next, known := qmpEvents[event]; known {
				if next == "" {
					l.segments = append(l.segments, segment{at, at, "mark", strings.ToLower(event)})
				} else {
					l.segments = append(l.segments, segment{since, at, state, title})
					state, title, since = next, next, at
				}
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if !since.IsZero() {
		l.segments = append(l.segments, segment{since, l.to, state, title})
	}
	return nil
}

// parseQMP returns the time of a line and its event; "" if it has no event.
func parseQMP(line []byte) (at time.Time, event string, ok bool) {
	var head struct {
		T    time.Time       `json:"t"`
		Line json.RawMessage `json:"line"`
	}
	if len(line) == 0 || json.Unmarshal(line, &head) != nil || head.T.IsZero() {
		return time.Time{}, "", false
	}
	var body struct {
		Event string `json:"event"`
	}
	if bytes.Contains(head.Line, []byte(`"event"`)) && json.Unmarshal(head.Line, &body) != nil {
		body.Event = ""
	}
	return head.T, body.Event, true
}
