package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// parseWsim reads a workload descriptor: steps between commas or on lines of their own, with comments from "#" to the
// end of the line (benchmarks/wsim/README of IGT). Of the language it knows
//
//	context.DEFAULT.duration.dependency.wait   a batch of so many us; the dependency is 0, or -n for
//	                                           the n-th step before
//	X.context.period                           preemption of a context's later batches: 0 is none,
//	                                           else every so many us
//	d.us, p.us                                 a delay; a delay until so long after the start of the cycle
//	s.-n                                       wait for the batch n steps before
//
// and refuses the rest. Batches are executed one after the other, so that dependencies are met.
func parseWsim(text string) ([]step, error) {
	var steps []step
	batches := false
	rigid := map[string]bool{} // contexts without preemption
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		for _, word := range strings.Split(line, ",") {
			if word = strings.TrimSpace(word); word == "" {
				continue
			}
			f := strings.Split(word, ".")
			s, err := parseStep(f, steps)
			if err != nil {
				return nil, fmt.Errorf("step %d, %q: %w", len(steps), word, err)
			}
			if f[0] == "X" {
				rigid[f[1]] = f[2] == "0"
			}
			s.rigid = s.batch > 0 && rigid[f[0]]
			batches = batches || s.batch > 0
			steps = append(steps, s)
		}
	}
	if !batches {
		return nil, fmt.Errorf("%q has no batch", text)
	}
	return steps, nil
}

// longestRigid is how long the longest batch takes that cannot be preempted, 0 if there is none.
func longestRigid(steps []step) (longest time.Duration) {
	for _, s := range steps {
		if s.rigid {
			longest = max(longest, s.batch)
		}
	}
	return longest
}

func parseStep(f []string, before []step) (s step, err error) {
	p := fields{f: f}
	switch f[0] {
	case "X":
		p.want(3)
		p.number(1, 1, maxContext)
		p.number(2, 0, maxMicros)
	case "d":
		p.want(2)
		s.delay = p.micros(1)
	case "p":
		p.want(2)
		s.period = p.micros(1)
	case "s":
		p.want(2)
		s.sync = p.back(1, before)
		if s.sync == 0 {
			p.fail("it does not name a step to wait for")
		}
	default:
		p.want(5)
		p.number(0, 1, maxContext)
		p.engine(1)
		s.batch = p.micros(2)
		p.back(3, before)
		s.wait = p.number(4, 0, 1) == 1
	}
	return s, p.err
}

const (
	maxContext = 1 << 16
	maxMicros  = 3600 * 1000 * 1000
)

// fields are the parts of a step, with the first thing that is wrong with them.
type fields struct {
	f   []string
	err error
}

func (p *fields) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

func (p *fields) want(n int) {
	if len(p.f) != n {
		p.fail("the stand-in does not support this step")
		p.f = append(p.f, make([]string, n)...)
	}
}

func (p *fields) number(i, least, most int) int {
	n, err := strconv.Atoi(p.f[i])
	if err != nil || n < least || n > most {
		p.fail("%q is not a number from %d to %d: the stand-in supports no other values here", p.f[i], least, most)
		return 0
	}
	return n
}

// micros is a time, more than 0.
func (p *fields) micros(i int) time.Duration {
	return time.Duration(p.number(i, 1, maxMicros)) * time.Microsecond
}

func (p *fields) engine(i int) {
	if p.f[i] != "DEFAULT" {
		p.fail("the stand-in supports only the engine DEFAULT")
	}
}

// back is how many steps back a batch is that is referred to, or 0.
func (p *fields) back(i int, before []step) int {
	n := -p.number(i, -len(before), 0)
	if n > 0 && before[len(before)-n].batch == 0 {
		p.fail("the step %s is not a batch", p.f[i])
	}
	return n
}
