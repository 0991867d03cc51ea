package report

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"vmtb/report/reporttest"
)

var (
	ktapPlan   = regexp.MustCompile(`^1\.\.(\d+)$`)
	ktapResult = regexp.MustCompile(`^(ok|not ok) (\d+) ([^#]+?)(?: # (SKIP|TODO|XFAIL|TIMEOUT|ERROR)( .*)?)?$`)
)

// A ktapReader reads KTAP and counts the results of tests without subtests.
type ktapReader struct {
	lines  []string
	counts map[string]int
}

// level reads a version line, a plan and its results at one indentation. It returns the number of
// failed results.
func (r *ktapReader) level(indent string) (bad int, err error) {
	if err := r.expect(indent + "KTAP version 1"); err != nil {
		return 0, err
	}
	m := ktapPlan.FindStringSubmatch(strings.TrimPrefix(r.next(), indent))
	if m == nil {
		return 0, fmt.Errorf("no plan before %q", r.peek())
	}
	n, _ := strconv.Atoi(m[1])
	for i := 1; i <= n; i++ {
		failed, err := r.test(indent, i)
		if err != nil {
			return bad, err
		}
		if failed {
			bad++
		}
	}
	return bad, nil
}

func (r *ktapReader) test(indent string, n int) (failed bool, err error) {
	leaf, below := true, 0
	if strings.HasPrefix(r.peek(), indent+"  KTAP") {
		leaf = false
		if below, err = r.level(indent + "  "); err != nil {
			return false, err
		}
	}
	for strings.HasPrefix(r.peek(), indent+"# ") {
		r.next()
	}
	line := r.next()
	m := ktapResult.FindStringSubmatch(strings.TrimPrefix(line, indent))
	if m == nil || !strings.HasPrefix(line, indent) || m[2] != strconv.Itoa(n) {
		return false, fmt.Errorf("%q is not result %d at indent %d", line, n, len(indent))
	}
	failed = m[1] == "not ok"
	if !leaf && failed != (below > 0) {
		return failed, fmt.Errorf("%q above %d failures", line, below)
	}
	if leaf {
		r.counts[strings.TrimSpace(m[1]+" "+m[4])]++
	}
	return failed, nil
}

func (r *ktapReader) peek() string {
	if len(r.lines) == 0 {
		return ""
	}
	return r.lines[0]
}

func (r *ktapReader) next() string {
	line := r.peek()
	r.lines = r.lines[min(1, len(r.lines)):]
	return line
}

func (r *ktapReader) expect(line string) error {
	if got := r.next(); got != line {
		return fmt.Errorf("%q, want %q", got, line)
	}
	return nil
}

// readKTAP reads a whole file.
func readKTAP(text string) (map[string]int, error) {
	r := &ktapReader{lines: strings.Split(strings.TrimSuffix(text, "\n"), "\n"), counts: map[string]int{}}
	if _, err := r.level(""); err != nil {
		return nil, err
	}
	if len(r.lines) > 0 {
		return nil, fmt.Errorf("%q is left", r.lines)
	}
	return r.counts, nil
}

func TestKTAP(t *testing.T) {
	for _, s := range reporttest.Samples() {
		counts, err := readKTAP(write(t, "ktap", s.Open(t)))
		if err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
		want := "map[not ok:2 not ok ERROR:4 not ok TIMEOUT:1 ok:3 ok SKIP:3]"
		if s.Name == "mixed" && fmt.Sprint(counts) != want {
			t.Errorf("%v\nwant %s", counts, want)
		}
	}
}

var lavaLine = regexp.MustCompile(
	`^<LAVA_SIGNAL_(TESTSET (START [^ ]+|STOP)|TESTCASE TEST_CASE_ID=[A-Za-z0-9._-]+ ` +
		`RESULT=(pass|fail|skip|unknown) UNITS=seconds MEASUREMENT=\d+\.\d{3})>$`,
)

func TestLAVA(t *testing.T) {
	for _, s := range reporttest.Samples() {
		run := s.Open(t)
		w := &writes{}
		if err := Replay(NewLAVA(w, nil), run); err != nil {
			t.Fatal(err)
		}
		ids := map[string]bool{}
		for _, line := range w.all {
			line, whole := strings.CutSuffix(line, "\n")
			if !whole || !lavaLine.MatchString(line) {
				t.Errorf("%s: a write of %q", s.Name, line)
			}
			_, id, ok := strings.Cut(line, "TEST_CASE_ID=")
			if id, _, _ = strings.Cut(id, " "); ok && ids[id] {
				t.Errorf("%s: %s comes twice", s.Name, id)
			}
			ids[id] = ok
		}
		if signals, calls := strings.Count(strings.Join(w.all, ""), "TESTCASE"), strings.Count(
			write(t, "lava-sh", run), "lava-test-case ",
		); signals != calls || signals < len(run.Info.Plan) {
			t.Errorf("%s: %d signals, %d calls", s.Name, signals, calls)
		}
	}
}

// writes records each write.
type writes struct{ all []string }

func (w *writes) Write(p []byte) (int, error) {
	w.all = append(w.all, string(p))
	return len(p), nil
}
