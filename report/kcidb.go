package report

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"time"

	"vmtb/flow"
	"vmtb/report/run"
)

// kcidbExcerpt is the largest number of characters of a log_excerpt in the schema.
const kcidbExcerpt = 16384

// NewKCIDB returns a report that writes KCIDB's schema 5.3 to w. fsys is the run directory. vmtb
// does not send the report.
func NewKCIDB(w io.Writer, fsys fs.FS) Report { return newWhole(w, fsys, writeKCIDB) }

type kcidbVersion struct {
	Major int `json:"major"`
	Minor int `json:"minor"`
}

type kcidbCheckout struct {
	ID      string `json:"id"`
	Origin  string `json:"origin"`
	Comment string `json:"comment"`
}

type kcidbBuild struct {
	ID         string `json:"id"`
	Origin     string `json:"origin"`
	CheckoutID string `json:"checkout_id"`
	Comment    string `json:"comment"`
}

type kcidbTest struct {
	ID          string           `json:"id"`
	BuildID     string           `json:"build_id"`
	Origin      string           `json:"origin"`
	Environment kcidbEnvironment `json:"environment"`
	Path        string           `json:"path"`
	Comment     string           `json:"comment"`
	LogExcerpt  string           `json:"log_excerpt,omitempty"`
	Status      string           `json:"status"`
	StartTime   string           `json:"start_time"`
	Duration    decimal          `json:"duration"` // seconds
	Misc        kcidbMisc        `json:"misc"`
}

type kcidbEnvironment struct {
	Comment string            `json:"comment"`
	Misc    map[string]string `json:"misc,omitempty"`
}

type kcidbMisc struct {
	Vmtb     string   `json:"vmtb"`     // version of vmtb
	Result   string   `json:"result"`   // the result as a word of vmtb
	Attempts []string `json:"attempts"` // results of all attempts; the last one counts
	Reason   string   `json:"reason,omitempty"`
	Blame    string   `json:"blame,omitempty"`
}

// kcidbStatus returns a status of the schema. ERROR means that the test did not complete. MISS
// means that the harness did not let it run.
func kcidbStatus(p *run.Phase) string {
	switch p.Result {
	case flow.Pass, flow.DmesgWarn:
		return "PASS"
	case flow.Fail, flow.DmesgFail, flow.Timeout:
		return "FAIL"
	case flow.Skip:
		return "SKIP"
	case flow.NotRun, run.Aborted:
		return "MISS"
	case flow.Error:
		if p.Blame == flow.BlameInfra || p.Blame == flow.BlameUsage {
			return "MISS"
		}
	}
	return "ERROR"
}

// kcidbConfig has those fields of the configuration that name the origin and the tested build.
type kcidbConfig struct {
	CI struct {
		Origin  string `json:"kcidb_origin"`
		BuildID string `json:"kcidb_build_id"`
	} `json:"ci"`
}

var (
	kcidbOrigin = regexp.MustCompile(`^[a-z0-9_]+$`)
	kcidbID     = regexp.MustCompile(`^[a-z0-9_]+:[^\x00]*$`)
)

// kcidbWho returns the origin and the build of all tests. If the configuration has no build, it
// writes one into the report, for the host's kernel.
func kcidbWho(o *object, h *run.History) (origin, build string) {
	var c kcidbConfig
	if json.Unmarshal(h.Info.Config, &c) != nil || !kcidbOrigin.MatchString(c.CI.Origin) {
		c.CI.Origin = "vmtb"
	}
	if kcidbID.MatchString(c.CI.BuildID) {
		return c.CI.Origin, run.Clean(c.CI.BuildID)
	}
	kernel := h.Uname()
	id := c.CI.Origin + ":" + hash(kernel)
	comment := "the kernel that was found running: " + kernel
	o.member("checkouts", []kcidbCheckout{{ID: id, Origin: c.CI.Origin, Comment: comment}})
	o.member("builds", []kcidbBuild{{ID: id, Origin: c.CI.Origin, CheckoutID: id, Comment: comment}})
	return c.CI.Origin, id
}

func hash(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s)))[:32] }

// writeKCIDB writes the file piece by piece, with only one test in memory.
func writeKCIDB(p *printer, h *run.History) {
	o := &object{p: p, sep: "{\n  "}
	o.member("version", kcidbVersion{5, 3})
	origin, build := kcidbWho(o, h)
	tests := o.array("tests")
	runID := fmt.Sprintf("%s %d %d %s ",
		h.Info.BootID, h.Info.PID, h.Info.PIDStart, h.Info.Start.UTC().Format(time.RFC3339Nano))
	add := func(id flow.ID, a *run.Phase, attempts []*run.Phase) {
		t := kcidbTest{
			ID: origin + ":" + hash(runID+id.String()), BuildID: build, Origin: origin,
			Environment: kcidbEnvironmentOf(h.Info, a.DUT),
			Path:        "vmtb." + run.PathName(id), Comment: run.Clean(id.String()), LogExcerpt: excerpt(a),
			Status:    kcidbStatus(a),
			StartTime: a.Start().UTC().Format(time.RFC3339Nano), Duration: decimal(max(0, a.Duration).Seconds()),
			Misc: kcidbMisc{
				Vmtb: run.Clean(h.Info.Version), Result: run.Clean(string(a.Result)), Reason: run.Clean(a.Reason),
				Blame: run.Clean(string(a.Blame)),
			},
		}
		for _, b := range attempts {
			t.Misc.Attempts = append(t.Misc.Attempts, run.Clean(string(b.Result)))
		}
		tests.item(t)
	}
	for _, g := range h.Groups {
		for _, c := range g.Cases {
			add(c.ID, c.Last(), c.Attempts)
		}
		for _, bad := range g.Trouble() {
			add(bad.CaseID(), bad.Phase, []*run.Phase{bad.Phase})
		}
	}
	tests.end()
	o.end()
	p.print("\n")
}

// kcidbEnvironmentOf returns the environment of the DUT called dut.
func kcidbEnvironmentOf(info flow.Info, dut string) kcidbEnvironment {
	line, facts := run.Describe(info, dut)
	e := kcidbEnvironment{Comment: run.Clean(line), Misc: map[string]string{}}
	for _, f := range facts {
		e.Misc[run.Clean(f.Name)] = run.Clean(f.Value)
	}
	return e
}

// excerpt returns the end of an attempt's transcript and reason. A limit in bytes is safe: a
// character has at least one byte.
func excerpt(a *run.Phase) string {
	return run.LastBytes(a.Transcript(seconds2)+a.Why(), kcidbExcerpt)
}
