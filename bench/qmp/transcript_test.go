package qmp

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// A writer that is stuck costs a limited amount of memory, and the transcript reports the missing
// lines.
func TestTranscriptLosesLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read, write := io.Pipe()
		log := newTranscript(write)
		line := append(bytes.Repeat([]byte(" "), transcriptLine-2), "{}"...)
		const lines = 2*transcriptQueue/transcriptLine + 1
		for range lines {
			log.add("in", line)
			synctest.Wait()
		}
		log.close()
		began := time.Now()
		log.flush()
		if time.Since(began) != transcriptFlush {
			t.Errorf("flush took %v", time.Since(began))
		}
		kept, lost := 0, int64(0)
		go func() {
			log.flush()
			_ = write.Close()
		}()
		for dec := json.NewDecoder(read); ; kept++ {
			var e entry
			if err := dec.Decode(&e); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			lost += e.Lost
		}
		if want := transcriptQueue/transcriptLine + 1; kept != want || log.lost.Load()+lost != lines-int64(want) {
			t.Errorf("kept %d lines, lost %d and %d of %d", kept, lost, log.lost.Load(), lines)
		}
	})
}
