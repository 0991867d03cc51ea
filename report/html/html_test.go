package html

import (
	"errors"
	"flag"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vmtb/flow"
	"vmtb/report/reporttest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// writeSite writes the pages of a run into the run directory, and returns the directory of the
// pages.
func writeSite(t *testing.T, run, earlier *flow.RunDir) string {
	t.Helper()
	dir := filepath.Join(run.Info.Dir, "html")
	writeTo(t, dir, run, earlier)
	return dir
}

func writeTo(t *testing.T, dir string, run, earlier *flow.RunDir) {
	t.Helper()
	r, err := New(dir, Options{Run: os.DirFS(run.Info.Dir), Dir: run.Info.Dir, Earlier: earlier})
	if err != nil {
		t.Fatal(err)
	}
	r.Start(run.Info)
	for e, err := range run.All() {
		if err != nil {
			t.Fatal(err)
		}
		r.Entry(e)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestHTMLGolden(t *testing.T) {
	run, earlier := reporttest.MixedRun().Open(t), reporttest.EarlierRun().Open(t)
	dir := writeSite(t, run, earlier)
	for _, name := range reporttest.Pages(t, dir) {
		page, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		reporttest.Golden(t, *update, "mixed/"+filepath.Base(name), string(page), run, earlier)
	}
}

// The pages name what differs about the machines of two runs, and show what the guests were.
func TestHTMLEnvironment(t *testing.T) {
	run, earlier := reporttest.PassedRun().Open(t), reporttest.EarlierRun().Open(t)
	run.Info.Environment = []flow.Fact{{Name: "kernel", Value: "7.3.4"}, {Name: "microcode", Value: "<0x11>"}}
	earlier.Info.Environment = []flow.Fact{{Name: "kernel", Value: "7.2.13"}}
	earlier.Facts = []flow.Entry{{
		Event: flow.Log, Machine: "vm0", Facts: []flow.Fact{{Name: "kernel", Value: "7.2.6"}},
	}}
	out := filepath.Join(t.TempDir(), "html")
	r, err := New(out, Options{Run: os.DirFS(run.Info.Dir), Dir: run.Info.Dir, Earlier: earlier})
	if err != nil {
		t.Fatal(err)
	}
	r.Start(run.Info)
	for _, e := range run.Entries {
		r.Entry(e)
	}
	r.Entry(flow.Entry{
		Event: flow.Log, ID: run.Info.Plan[0].ID, Machine: "vm0", Facts: []flow.Fact{{Name: "kernel", Value: "7.2.13"}},
	})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"compare.html": {
			"<dt>host kernel</dt><dd>7.2.13 &#8594; 7.3.4</dd>", "<dt>guest kernel</dt><dd>7.2.6 &#8594; 7.2.13</dd>",
			"<dt>microcode</dt><dd>not recorded &#8594; &lt;0x11&gt;</dd>",
		},
		"index.html": {
			"Environment: host kernel 7.2.13 / 7.3.4; guest kernel 7.2.6 / 7.2.13; only in this run: microcode.",
			"<dt>guest kernel</dt><dd>7.2.13</dd>",
		},
	} {
		page, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range want {
			if !strings.Contains(string(page), text) {
				t.Errorf("%s does not have %s", name, text)
			}
		}
	}
}

// The pages of a merged run show the DUT of each case, and the missing DUTs.
func TestHTMLMerged(t *testing.T) {
	run := reporttest.MergedRun(t)
	for _, name := range reporttest.Pages(t, writeSite(t, run, nil)) {
		page, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		reporttest.Golden(t, *update, "merged/"+filepath.Base(name), string(page), run)
	}
}

// Pages have only what Jenkins allows ("sandbox; default-src 'none'; img-src 'self'; style-src
// 'self'"), and every link has a target.
func TestHTMLPolicy(t *testing.T) {
	for _, s := range reporttest.Samples() {
		run := s.Open(t)
		dir := writeSite(t, run, reporttest.EarlierRun().Open(t))
		ids := map[string]map[string]bool{}
		links := map[string][]string{}
		for _, name := range reporttest.Pages(t, dir) {
			ids[name], links[name] = reporttest.Walk(t, name)
		}
		n := 0
		for page, hrefs := range links {
			for _, href := range hrefs {
				n++
				checkLink(t, ids, page, href)
			}
		}
		if n < 20 {
			t.Errorf("%s: only %d links seen", s.Name, n)
		}
	}
}

func checkLink(t *testing.T, ids map[string]map[string]bool, page, href string) {
	t.Helper()
	u, err := url.Parse(href)
	if err != nil || u.IsAbs() || u.Host != "" || strings.HasPrefix(u.Path, "/") {
		t.Errorf("%s: link %q is not relative (%v)", page, href, err)
		return
	}
	target := page
	if u.Path != "" {
		target = filepath.Join(filepath.Dir(page), u.Path)
	}
	if _, err := os.Stat(target); err != nil {
		t.Errorf("%s: dead link %q: %v", page, href, err)
	}
	if u.Fragment != "" && !ids[target][u.Fragment] {
		t.Errorf("%s: link %q: no such place", page, href)
	}
}

// The links are right if the pages are outside the run directory.
func TestHTMLElsewhere(t *testing.T) {
	run := reporttest.MixedRun().Open(t)
	out := filepath.Join(t.TempDir(), "a", "pages")
	writeTo(t, out, run, nil)
	ids := map[string]map[string]bool{}
	for _, name := range reporttest.Pages(t, out) {
		ids[name], _ = reporttest.Walk(t, name)
	}
	for _, name := range reporttest.Pages(t, out) {
		_, links := reporttest.Walk(t, name)
		for _, l := range links {
			checkLink(t, ids, name, l)
		}
	}
	if _, err := os.Stat(filepath.Join(out, "compare.html")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a comparison with nothing: %v", err)
	}
}
