package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Every descriptor of our flows can be parsed.
func TestOwnDescriptors(t *testing.T) {
	files, err := filepath.Glob("../../vmm_flows/resources/wsim/*/*.wsim")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseWsim(string(data)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestParseWsimRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "has no batch",
		"# nothing\n":                         "has no batch",
		"d.100":                               "has no batch",
		"1.RCS.5000.0.0":                      "only the engine DEFAULT",
		"1.DEFAULT.500-1000.0.0":              `"500-1000" is not a number`,
		"1.DEFAULT.*.0.0":                     `"*" is not a number`,
		"1.DEFAULT.0.0.0":                     `"0" is not a number`,
		"1.DEFAULT.5000.0":                    "does not support this step",
		"1.DEFAULT.5000.0.0.0":                "does not support this step",
		"0.DEFAULT.5000.0.0":                  `"0" is not a number`,
		"1.DEFAULT.5000.-1.0":                 `"-1" is not a number`,
		"1.DEFAULT.5000.0.0,2.DEFAULT.1.-2.0": "step 1",
		"1.DEFAULT.5000.f-1.0":                `"f-1" is not a number`,
		"X.1.0,1.DEFAULT.5000.-1.0":           "the step -1 is not a batch",
		"1.DEFAULT.5000.0.0,s.0":              "does not name a step",
		"1.DEFAULT.5000.0.2":                  `"2" is not a number`,
		"M.1.RCS,1.DEFAULT.5000.0.0":          "does not support this step",
		"f,1.DEFAULT.5000.0.0":                "does not support this step",
		"P.1.1,1.DEFAULT.5000.0.0":            "does not support this step",
		"d.99999999999,1.DEFAULT.5000.0.0":    "is not a number",
	} {
		if s, err := parseWsim(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want an error with %q", text, s, err, want)
		}
	}
}

// longestRigid counts a batch only if an earlier step forbids the preemption of its context.
func TestLongestRigid(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1.DEFAULT.5000.0.1":                                 0,
		"X.1.0,1.DEFAULT.5000.0.1":                           5 * time.Millisecond,
		"X.1.0,2.DEFAULT.5000.0.1":                           0,
		"1.DEFAULT.5000.0.0,X.1.0,1.DEFAULT.10.0.1":          10 * time.Microsecond,
		"X.1.0,X.2.0,1.DEFAULT.10.0.0,2.DEFAULT.100000.-1.1": 100 * time.Millisecond,
		"X.1.0,1.DEFAULT.7.0.1,X.1.500,1.DEFAULT.100000.0.1": 7 * time.Microsecond,
	} {
		steps, err := parseWsim(text)
		if got := longestRigid(steps); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", text, got, err, want)
		}
	}
}

func FuzzParseWsim(f *testing.F) {
	for _, s := range []string{
		"1.DEFAULT.5000.0.0,2.DEFAULT.5000.-1.1", "X.1.0\n1.DEFAULT.5.0.1 # x\nd.5,p.7,s.-3", "...", "s.-1", "p.",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseWsim(text)
		if err != nil {
			return
		}
		var total time.Duration
		for _, one := range s {
			total += one.batch + one.delay + one.period
		}
		e := newEngine(s, 1, 1)
		e.advance(total, 1) // one after the other is the longest possible
		e.advance(time.Microsecond, 1)
		if !e.finished() {
			t.Errorf("%q is not done after %v", text, total)
		}
	})
}
