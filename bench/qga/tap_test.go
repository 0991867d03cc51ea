package qga_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"vmtb/bench"
	"vmtb/internal/fake/fakeqga"
	"vmtb/internal/fake/fakeqmp"
)

// A ringGuest writes one output to the files of a ring, by the rules of copyLoop, in parts of
// random size. Now and then the agent obeys a request without an answer.
type ringGuest struct {
	mu      sync.Mutex
	chance  *rand.Rand
	deaf    int // one of so many file operations gets no answer; 0: all get one
	output  []byte
	end     map[string]any
	files   map[string][]byte
	at      int // number of the current file
	reads   int // the copier's reads for this file
	started bool
	opened  map[int]string // path by handle
	offset  map[int]int
	removed []string
	signals []string
}

func (g *ringGuest) commands() fakeqga.Commands {
	g.opened, g.offset, g.files = map[int]string{}, map[int]int{}, map[string][]byte{}
	commands := fakeqga.Commands{"guest-exec": g.exec, "guest-exec-status": g.status}
	for op, do := range map[string]func(fileArgs) (any, error){
		"open": g.open, "read": g.read, "seek": g.seek,
		"close": func(a fileArgs) (any, error) { delete(g.opened, a.Handle); return struct{}{}, nil },
		"flush": func(fileArgs) (any, error) { return struct{}{}, nil },
	} {
		commands["guest-file-"+op] = func(raw json.RawMessage) (any, error) {
			var a fileArgs
			if err := json.Unmarshal(raw, &a); err != nil {
				return nil, err
			}
			g.mu.Lock()
			defer g.mu.Unlock()
			ret, err := do(a)
			if g.deaf > 0 && op != "close" && g.chance.IntN(g.deaf) == 0 {
				return nil, fakeqmp.ErrSilence
			}
			return ret, err
		}
	}
	return commands
}

type fileArgs struct {
	Path, Mode            string
	Handle, Count, Offset int
}

func (g *ringGuest) exec(raw json.RawMessage) (any, error) {
	var a execArgs
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	pid := 1 // a process that ends at once
	switch {
	case a.Path == "rm":
		g.removed = append(g.removed, a.Arg...)
	case len(a.Arg) == 6: // a signal
		g.signals = append(g.signals, a.Arg[3])
		g.output = nil
	case len(a.Arg) > 8:
		pid, g.started = 2, true
	case len(a.Arg) > 3:
		pid = 3
	}
	return map[string]int{"pid": pid}, nil
}

func (g *ringGuest) status(raw json.RawMessage) (any, error) {
	var a struct{ PID int }
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case a.PID == 3:
		return map[string]any{"exited": true, "exitcode": 0, "out-data": []byte("/room\n")}, nil
	case a.PID == 2 && len(g.output) > 0:
		return map[string]any{"exited": false}, nil
	case a.PID == 2:
		return g.end, nil
	}
	return map[string]any{"exited": true, "exitcode": 0}, nil
}

// write is the copier's work between two requests.
func (g *ringGuest) write() {
	for g.started && len(g.output) > 0 && g.chance.IntN(3) > 0 {
		if g.reads == 3 { // 64 in the real copier
			if len(g.files[ringPath(g.at-3)]) > 0 {
				return
			}
			g.at, g.reads = g.at+1, 0
		}
		n := min(len(g.output), 1+g.chance.IntN(90_000))
		name := ringPath(g.at)
		g.files[name], g.output = append(g.files[name], g.output[:n]...), g.output[n:]
		g.reads++
	}
}

func ringPath(n int) string { return fmt.Sprintf("/room/out.%d", n) }

func (g *ringGuest) open(a fileArgs) (any, error) {
	g.write()
	if _, ok := g.files[a.Path]; !ok && a.Mode == "r" {
		return nil, fakeqmp.Failure{
			Class: "GenericError", Desc: "failed to open file '" + a.Path + "' (mode: 'r'): No such file or directory",
		}
	}
	handle := 1000 + len(g.offset)
	g.opened[handle], g.offset[handle] = a.Path, 0
	if a.Mode == "w" {
		g.files[a.Path] = nil
	}
	return handle, nil
}

func (g *ringGuest) seek(a fileArgs) (any, error) {
	g.offset[a.Handle] = a.Offset
	return map[string]any{"position": a.Offset, "eof": false}, nil
}

func (g *ringGuest) read(a fileArgs) (any, error) {
	g.write()
	data, at := g.files[g.opened[a.Handle]], g.offset[a.Handle]
	part := data[min(at, len(data)):min(len(data), at+a.Count)]
	g.offset[a.Handle] += len(part)
	return map[string]any{"count": len(part), "buf-b64": part, "eof": len(part) < a.Count}, nil
}

// For all timings of the copier and the agent, the writer gets every byte once and in order, and no
// file stays in the guest.
func TestStreamLosesNothing(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			output := make([]byte, rand.New(rand.NewPCG(seed, 1)).IntN(2<<20))
			_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(output)
			g := &ringGuest{
				chance: rand.New(rand.NewPCG(seed, 2)), output: output,
				end: map[string]any{"exited": true, "exitcode": 3},
			}
			if seed%2 == 1 {
				g.deaf = 5
			}
			c := serve(t, g.commands())
			var got bytes.Buffer
			p, err := c.Start(t.Context(), bench.Command{Argv: []string{"prog"}, Stdout: &got})
			if err != nil {
				t.Fatal(err)
			}
			r, err := p.Wait(t.Context())
			for ; isTimeout(err, "guest-file-read") || isTimeout(err, "guest-file-open") ||
				isTimeout(err, "guest-file-seek"); r, err = p.Wait(t.Context()) {
				if g.deaf == 0 {
					t.Fatal(err)
				}
			}
			if err != nil || r.ExitCode != 3 || len(r.Stdout) > 0 || !bytes.Equal(got.Bytes(), output) {
				t.Errorf("seed %d: %+v, %v, %d of %d bytes", seed, r, err, got.Len(), len(output))
			}
			if g.deaf == 0 && len(g.opened) > 0 {
				t.Errorf("left open: %v", slices.Collect(maps.Values(g.opened)))
			}
			if len(g.removed) != 4 || !strings.HasPrefix(g.removed[2], "/var/tmp/vmtb-exec-") ||
				!strings.HasPrefix(g.removed[3], "/tmp/vmtb-exec-") {
				t.Errorf("removed %q", g.removed)
			}
		})
	}
}

// If the copier fails, Exec returns an error with the copier's message.
func TestStreamCopierFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &ringGuest{chance: rand.New(rand.NewPCG(1, 1)), output: []byte("some"), end: map[string]any{
			"exited": true, "signal": 13, "out-data": []byte("dd: No space left on device\n"),
		}}
		c := serve(t, g.commands())
		var got bytes.Buffer
		r, err := c.Exec(t.Context(), bench.Command{Argv: []string{"prog"}, Stdout: &got})
		if err == nil || !strings.Contains(err.Error(), "No space left") || r.Signal != 13 || got.String() != "some" {
			t.Errorf("%+v, %v, %q", r, err, &got)
		}
	})
}

// A writer that does not return blocks nobody: Exec ends soon after ctx, and the guest's files are
// removed.
func TestStreamWriterHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &ringGuest{
			chance: rand.New(rand.NewPCG(1, 1)), output: make([]byte, 1<<20),
			end: map[string]any{"exited": true, "signal": 9},
		}
		c := serve(t, g.commands())
		release := make(chan struct{})
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := c.Exec(ctx, bench.Command{Argv: []string{"prog"}, Stdout: hanging(release)})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 2*time.Minute {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if !slices.Equal(g.signals, []string{"15", "9"}) {
			t.Errorf("signals %q", g.signals)
		}
		close(release)
		synctest.Wait()
		time.Sleep(time.Minute)
		if len(g.removed) == 0 {
			t.Error("the files stay")
		}
	})
}

type hanging <-chan struct{}

func (h hanging) Write(p []byte) (int, error) {
	<-h
	return len(p), nil
}
