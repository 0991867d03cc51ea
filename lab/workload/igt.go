package main

import (
	"errors"
	"fmt"
	"path"
	"runtime"
	"strings"
	"time"
)

// igtVersion is IGT's, with a word more. The line that says it is a test's first, and igt_runner keeps it.
const igtVersion = "IGT-Version: 2.5-vmtb-lab-stand-in (%s) (%s)\n"

const igtUsage = `Usage: %s [OPTIONS]
  (%s)
  --list-subtests
  --show-testlist
  --run-subtest <pattern>
  --debug[=log-domain]
  --skip-crc-compare
  --trace-on-oops
  --help-description
  --describe
  --version
  --help|-h
`

// igtOptions are the command line of a test of IGT, as far as it is known here.
type igtOptions struct {
	action  string // what to do instead of running subtests
	pattern string // of those to run; "" is all
}

func parseIGTOptions(args []string) (o igtOptions, err error) {
	for len(args) > 0 {
		arg, value, hasValue := strings.Cut(args[0], "=")
		args = args[1:]
		switch arg {
		case "--debug", "--skip-crc-compare", "--trace-on-oops": // nothing to do here
		case "--list-subtests", "--show-testlist", "--help-description", "--describe", "--version", "--help", "-h":
			o.action = arg
		case "--run-subtest":
			if !hasValue {
				if len(args) == 0 {
					return o, errors.New("option '--run-subtest' requires an argument")
				}
				value, args = args[0], args[1:]
			}
			o.pattern = value
		default:
			return o, fmt.Errorf("unrecognized option '%s'", arg)
		}
	}
	return o, nil
}

// igt is a test program of IGT.
func (s system) igt(argv0 string, p program, args []string) int {
	o, err := parseIGTOptions(args)
	if err != nil {
		fmt.Fprintf(s.stderr, "%s: %v\n", argv0, err)
		fmt.Fprintf(s.stderr, igtUsage, p.name, notice)
		return exitInvalid
	}
	switch o.action {
	case "--help", "-h":
		fmt.Fprintf(s.stdout, igtUsage, p.name, notice)
	case "--version":
		fmt.Fprintf(s.stdout, igtVersion, runtime.GOARCH, notice)
	case "--help-description":
		fmt.Fprintf(s.stdout, "%s.\n", notice)
	case "":
		return s.runIGT(p, o.pattern)
	}
	for _, t := range p.subtests {
		switch o.action {
		case "--list-subtests":
			fmt.Fprintln(s.stdout, t.name)
		case "--show-testlist":
			fmt.Fprintf(s.stdout, "igt@%s@%s\n", p.name, t.name)
		case "--describe":
			fmt.Fprintf(s.stdout, "SUB %s lab/workload/tests.go:\n  %s.\n\n", t.name, notice)
		}
	}
	return exitSuccess
}

// runIGT runs the subtests that pattern takes. The exit code is that of a failure, if there is one, else that of a
// skip if there is nothing but skips.
func (s system) runIGT(p program, pattern string) int {
	fmt.Fprintf(s.stdout, igtVersion, runtime.GOARCH, notice)
	var chosen []subtest
	for _, t := range p.subtests {
		if matches(pattern, t.name) {
			chosen = append(chosen, t)
		}
	}
	if len(chosen) == 0 {
		fmt.Fprintf(s.stderr, "(%s) CRITICAL: Unknown subtest: %s\n", p.name, pattern)
		return exitInvalid
	}
	g, err := openGPU(s.debugfs)
	if err != nil {
		fmt.Fprintf(s.stdout, "Test requirement not met: %v\n", err)
		for _, t := range chosen {
			s.say("Subtest %s: SKIP (0.000s)\n", t.name)
		}
		return exitSkip
	}
	defer g.close()
	code := exitSkip
	for _, t := range chosen {
		switch got := s.runSubtest(g, t); {
		case got == exitFailure:
			code = got
		case got == exitSuccess && code == exitSkip:
			code = got
		}
	}
	return code
}

// matches reports whether a pattern as IGT takes it, shell patterns between commas of which those
// with "!" exclude, takes name. The last one that matches decides.
func matches(pattern, name string) bool {
	if pattern == "" {
		return true
	}
	taken := false
	for _, one := range strings.Split(pattern, ",") {
		one, exclude := strings.CutPrefix(one, "!")
		if ok, err := path.Match(one, name); err == nil && ok {
			taken = !exclude
		}
	}
	return taken
}

func (s system) runSubtest(g *gpu, t subtest) int {
	s.say("Starting subtest: %s\n", t.name)
	if !g.hasGT(t.gt) {
		fmt.Fprintf(s.stdout, "Test requirement not met: the device has no GT %d\n", t.gt)
		s.say("Subtest %s: SKIP (0.000s)\n", t.name)
		return exitSkip
	}
	e := newEngine([]step{{batch: t.work, wait: true}}, 1, 1)
	start := time.Now()
	if err := s.drive(e, g.share); err != nil {
		fmt.Fprintf(s.stderr, "CRITICAL: Test assertion failure: GPU time: %v\nSubtest %s failed.\n", err, t.name)
		s.say("Subtest %s: FAIL (%.3fs)\n", t.name, time.Since(start).Seconds())
		return exitFailure
	}
	s.say("Subtest %s: SUCCESS (%.3fs)\n", t.name, e.elapsed.Seconds())
	return exitSuccess
}

// say prints what igt_runner looks for.
func (s system) say(format string, args ...any) {
	fmt.Fprintf(s.stdout, format, args...)
	if s.sentinels {
		fmt.Fprintf(s.stderr, format, args...)
	}
}
