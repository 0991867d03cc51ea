package report

import (
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vmtb/flow"
)

// site writes the pages of a run into its own directory, and returns theirs.
func writeSite(t testing.TB, run, earlier *flow.RunDir) string {
	t.Helper()
	spec, err := ParseSpec("html")
	if err != nil {
		t.Fatal(err)
	}
	r, err := spec.Open(Options{Dir: run.Info.Dir, Earlier: earlier})
	if err == nil {
		err = Replay(r, run)
	}
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(run.Info.Dir, "html")
}

func pagesOf(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.html"))
	if err != nil || len(names) < 2 {
		t.Fatal(names, err)
	}
	return names
}

func TestHTMLGolden(t *testing.T) {
	run, earlier := mixedRun().open(t), earlierRun().open(t)
	dir := writeSite(t, run, earlier)
	for _, name := range pagesOf(t, dir) {
		page, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "mixed/html/"+filepath.Base(name), string(page), run, earlier)
	}
}

// earlierRun is a run of some of mixedRun's cases, before it.
func earlierRun() sample {
	s := mixedRun()
	s.name = "earlier"
	fail := []string{"TestIdleMigration::test_restore", "TestIdleMigration::test_save", "[2VF-(P:AUTO S:INFINITE)]"}
	s.tape.entries = slices.Clone(s.tape.entries)
	for i := range s.tape.entries {
		e := &s.tape.entries[i]
		if e.Event != flow.End || e.Phase != flow.PhaseCase {
			continue
		}
		e.Result, e.Reason = flow.Pass, ""
		if slices.ContainsFunc(fail, func(f string) bool { return strings.Contains(e.ID.String(), f) }) {
			e.Result = flow.Fail
		}
	}
	return s
}

// A page keeps to what Jenkins lets through ("sandbox; default-src 'none'; img-src 'self'; style-src 'self'"), and no
// link leads nowhere.
func TestHTMLPolicy(t *testing.T) {
	for _, s := range samples() {
		run := s.open(t)
		dir := writeSite(t, run, earlierRun().open(t))
		ids := map[string]map[string]bool{}
		links := map[string][]string{}
		for _, name := range pagesOf(t, dir) {
			ids[name], links[name] = walk(t, name)
		}
		n := 0
		for page, hrefs := range links {
			for _, href := range hrefs {
				n++
				checkLink(t, ids, page, href)
			}
		}
		if n < 20 {
			t.Errorf("%s: only %d links seen", s.name, n)
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

// walk parses a page and returns its places and links.
func walk(t *testing.T, name string) (ids map[string]bool, links []string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ids = map[string]bool{}
	dec := xml.NewDecoder(f)
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		e, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		if slices.Contains([]string{"script", "style", "iframe", "object", "embed", "form", "base", "img"}, e.Name.Local) {
			t.Errorf("%s: element %s", name, e.Name.Local)
		}
		for _, a := range e.Attr {
			key, value := strings.ToLower(a.Name.Local), a.Value
			switch {
			case key == "style", strings.HasPrefix(key, "on"), key == "srcset", strings.HasPrefix(value, "data:"), strings.HasPrefix(value, "javascript:"):
				t.Errorf("%s: <%s %s=%q>", name, e.Name.Local, key, value)
			case key == "id" && ids[value]:
				t.Errorf("%s: id %q is there twice", name, value)
			case key == "id":
				ids[value] = true
			case key == "href" || key == "src":
				links = append(links, value)
			}
		}
	}
	return ids, links
}

// Pages may lie elsewhere: the links find the run directory.
func TestHTMLElsewhere(t *testing.T) {
	run := mixedRun().open(t)
	out := filepath.Join(t.TempDir(), "a", "pages")
	spec, err := ParseSpec("html:" + out)
	if err != nil {
		t.Fatal(err)
	}
	r, err := spec.Open(Options{Dir: run.Info.Dir})
	if err == nil {
		err = Replay(r, run)
	}
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]map[string]bool{}
	for _, name := range pagesOf(t, out) {
		ids[name], _ = walk(t, name)
	}
	for _, name := range pagesOf(t, out) {
		_, links := walk(t, name)
		for _, l := range links {
			checkLink(t, ids, name, l)
		}
	}
	if _, err := os.Stat(filepath.Join(out, "compare.html")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a comparison with nothing: %v", err)
	}
}
