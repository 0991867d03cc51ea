package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// wsimOptions are the command line of gem_wsim, as far as it is known here.
type wsimOptions struct {
	workload         string // descriptor, or the path of a file with one
	clients, repeats int
	batches, delays  float64 // what to multiply their durations by
	quiet, help      bool
}

const wsimUsage = `Usage: gem_wsim [OPTIONS]

Waits for as long as a simulated workload takes on a GPU.
%s. It supports these options of gem_wsim:
  -h                This text.
  -q                Print nothing.
  -w <desc|path>    Workload descriptor, or a file with one.
  -c <n>            Clients that emit the workload at once (1).
  -r <n>            How many times each emits it (1).
  -f <scale>        Scale factor for batch durations.
  -F <scale>        Scale factor for delays.

`

// wsim is gem_wsim.
func (s system) wsim(args []string) int {
	o, err := parseWsimOptions(args)
	if err == nil && o.help {
		fmt.Fprintf(s.stdout, wsimUsage, notice)
		return exitSuccess
	}
	if err == nil {
		err = s.runWsim(o)
	}
	if err != nil {
		fmt.Fprintf(s.stderr, "gem_wsim (%s): %v\n", notice, err)
		return exitError
	}
	return exitSuccess
}

func parseWsimOptions(args []string) (o wsimOptions, err error) {
	o = wsimOptions{clients: 1, repeats: 1, batches: 1, delays: 1}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch arg {
		case "-h":
			o.help = true
			continue
		case "-q":
			o.quiet = true
			continue
		}
		if len(arg) < 2 || arg[0] != '-' || strings.IndexByte("wcrfF", arg[1]) < 0 {
			return o, fmt.Errorf("the stand-in does not support option %q", arg)
		}
		value := arg[2:]
		if value == "" {
			if len(args) == 0 {
				return o, fmt.Errorf("%s wants a value", arg)
			}
			value, args = args[0], args[1:]
		}
		if err := o.set(arg[1], value); err != nil {
			return o, fmt.Errorf("%s: %w", arg[:2], err)
		}
	}
	if o.workload == "" && !o.help {
		return o, errors.New("No workload descriptor(s)!") //nolint:staticcheck // gem_wsim's words
	}
	return o, nil
}

func (o *wsimOptions) set(option byte, value string) (err error) {
	switch option {
	case 'c':
		o.clients, err = positive(value)
	case 'r':
		o.repeats, err = positive(value)
	case 'f':
		o.batches, err = factor(value)
	case 'F':
		o.delays, err = factor(value)
	case 'w':
		if o.workload != "" {
			return errors.New("the stand-in runs only one workload")
		}
		if o.workload = value; value == "" {
			return errors.New("empty")
		}
	}
	return err
}

const maxCount = 1_000_000

func positive(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxCount {
		return 0, fmt.Errorf("%q is not a number from 1 to %d", text, maxCount)
	}
	return n, nil
}

// factor is a scale that leaves every duration more than nothing and less than for ever.
func factor(text string) (float64, error) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || !(f >= 0.001 && f <= 1000) {
		return 0, fmt.Errorf("%q is not a number from 0.001 to 1000", text)
	}
	return f, nil
}

// scaled are the steps with the durations that the user wants.
func (o wsimOptions) scaled(steps []step) []step {
	by := func(d time.Duration, f float64) time.Duration { return time.Duration(float64(d) * f) }
	for i, s := range steps {
		steps[i].batch = by(s.batch, o.batches)
		steps[i].delay, steps[i].period = by(s.delay, o.delays), by(s.period, o.delays)
	}
	return steps
}

func (s system) runWsim(o wsimOptions) error {
	text := o.workload
	if data, err := os.ReadFile(o.workload); err == nil {
		text = string(data)
	}
	steps, err := parseWsim(text)
	if err != nil {
		return err
	}
	g, err := openGPU(s.debugfs)
	if err != nil {
		return err
	}
	defer g.close()
	if !o.quiet {
		fmt.Fprintf(s.stdout, "gem_wsim: %s\n", notice)
	}
	steps = o.scaled(steps)
	if job := longestRigid(steps); job > 0 {
		if err := g.rigid(job); err != nil {
			return err
		}
	}
	e := newEngine(steps, o.clients, o.repeats)
	if err := s.drive(e, g.share); err != nil {
		return err
	}
	if !o.quiet {
		fmt.Fprintln(s.stdout, wsimResult(e.elapsed, o.clients*o.repeats))
	}
	return nil
}

// wsimResult is the line that gem_wsim ends with.
func wsimResult(elapsed time.Duration, workloads int) string {
	seconds := elapsed.Seconds()
	return fmt.Sprintf("%.3fs elapsed (%.3f workloads/s)", seconds, float64(workloads)/seconds)
}
