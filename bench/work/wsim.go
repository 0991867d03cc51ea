package work

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"vmtb/bench"
)

// These descriptors are work that takes 10 ms on an idle GPU: two batches of 5 ms, one after the
// other.
const (
	Preemptible    = "1.DEFAULT.5000.0.0,2.DEFAULT.5000.-1.1"
	NonPreemptible = "X.1.0,X.2.0," + Preemptible
)

// A Wsim workload is gem_wsim, IGT's workload simulator. It passes if it exits with 0 and prints
// how long it took.
type Wsim struct {
	Config bench.IGTConfig `json:"config"`
	// A descriptor, or the path of a file with one on the machine.
	Descriptor string `json:"descriptor,omitempty"`
	// The content of a .wsim file, instead of Descriptor.
	File    []byte   `json:"file,omitempty"`
	Clients int      `json:"clients,omitempty"` // 1 by default
	Repeats int      `json:"repeats,omitempty"` // of the workload in each client, 1 by default
	Options []string `json:"options,omitempty"` // further options
}

func (w Wsim) String() string {
	what := w.Descriptor
	if w.File != nil {
		what = "file"
	}
	return fmt.Sprintf("gem_wsim %s (%d clients, %d repeats)", what, max(1, w.Clients), max(1, w.Repeats))
}

// Program returns the path of the program that the machine must have.
func (w Wsim) Program() string { return path.Join(w.Config.TestDir, "benchmarks/gem_wsim") }

func (w Wsim) job(dir string) (job, error) {
	if (w.Descriptor == "") == (w.File == nil) {
		return job{}, &bench.UsageError{Err: errors.New("gem_wsim: want either a descriptor or a file")}
	}
	j := job{}
	descriptor := w.Descriptor
	if w.File != nil {
		j.files = map[string][]byte{"workload.wsim": w.File}
		descriptor = path.Join(dir, "workload.wsim")
	}
	j.command = bench.Command{Env: libraryPath(w.Config), Argv: slices.Concat(
		[]string{w.Program()}, w.Options,
		[]string{"-w", descriptor, "-c", strconv.Itoa(max(1, w.Clients)), "-r", strconv.Itoa(max(1, w.Repeats))},
	)}
	return j, nil
}

func (w Wsim) judge(_ context.Context, _ bench.Machine, _ string, r *Result) error {
	if err := r.Exit.Err(bench.Command{Argv: []string{"gem_wsim"}}); err != nil {
		r.fail("%v", err)
	}
	var err error
	if r.Wsim, err = ParseWsim(string(r.Exit.Stdout)); err != nil {
		r.fail("%v", err)
	}
	return nil
}

// A WsimResult is the parsed output of gem_wsim.
type WsimResult struct {
	Elapsed time.Duration
	Rate    float64 // workloads per second, of all clients together
	// In the order of the output; without the option -v only the master workload.
	Clients []WsimClient
}

// A WsimClient is the result of one client.
type WsimClient struct {
	ID      int
	Master  bool // marked with "*"; a blank marks a background workload
	Elapsed time.Duration
	Cycles  int // 0 if gem_wsim did not print it
	Rate    float64
}

// These match the two printf in gem_wsim.c of IGT. Older versions do not print cycles. The text
// after a client's full stop is about batches.
var (
	wsimTotalRE  = regexp.MustCompile(`^(\d+\.\d+)s elapsed \((\d+\.\d+|inf) workloads/s\)$`)
	wsimClientRE = regexp.MustCompile(
		`^([ *])(\d+): (\d+\.\d+)s elapsed \((?:(\d+) cycles, )?(\d+\.\d+|inf) workloads/s\)`,
	)
)

// ParseWsim parses the output of gem_wsim. It fails if there is not exactly one line about the
// whole run.
func ParseWsim(out string) (*WsimResult, error) {
	var r WsimResult
	totals := 0
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\r\n")
		if m := wsimTotalRE.FindStringSubmatch(line); m != nil {
			totals++
			r.Elapsed, r.Rate = seconds(float(m[1])), float(m[2])
		} else if m := wsimClientRE.FindStringSubmatch(line); m != nil {
			id, err := strconv.Atoi(m[2])
			if err != nil {
				return nil, fmt.Errorf("client %s: %w", m[2], err)
			}
			cycles, _ := strconv.Atoi(m[4]) // "" is none
			r.Clients = append(r.Clients, WsimClient{
				ID: id, Master: m[1] == "*", Elapsed: seconds(float(m[3])), Cycles: cycles, Rate: float(m[5]),
			})
		}
	}
	if totals != 1 {
		return nil, fmt.Errorf(
			"gem_wsim printed its duration %d times, want once: %q", totals, bench.Tail([]byte(out), 3),
		)
	}
	return &r, nil
}

// float parses a number that a regular expression has matched.
func float(s string) float64 {
	f, _ := strconv.ParseFloat(s, 64) // a number out of range is infinite
	return f
}
