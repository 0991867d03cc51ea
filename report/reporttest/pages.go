package reporttest

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Pages returns the file names of the pages in a directory.
func Pages(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.html"))
	if err != nil || len(names) < 2 {
		t.Fatal(names, err)
	}
	return names
}

// Walk parses a page, and returns its anchors and links. It fails the test if Jenkins' content
// security policy blocks a part of the page.
func Walk(t *testing.T, name string) (ids map[string]bool, links []string) {
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
		if slices.Contains(
			[]string{"script", "style", "iframe", "object", "embed", "form", "base", "img"}, e.Name.Local,
		) {
			t.Errorf("%s: element %s", name, e.Name.Local)
		}
		for _, a := range e.Attr {
			key, value := strings.ToLower(a.Name.Local), a.Value
			switch {
			case key == "style", strings.HasPrefix(key, "on"), key == "srcset",
				strings.HasPrefix(value, "data:"), strings.HasPrefix(value, "javascript:"):
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
