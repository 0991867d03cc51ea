package docs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vmtb/internal/igttable"
)

// TestIGT compares igt.md with the results and the reasons in the directory igt.
func TestIGT(t *testing.T) {
	read := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	reasons, err := igttable.ParseReasons(read("igt/reasons.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var places []*igttable.Place
	for _, name := range igttable.Places {
		file := filepath.Join("igt", name+".txt")
		if _, err := os.Stat(file); err != nil {
			places = append(places, &igttable.Place{Name: name})
			continue
		}
		p, err := igttable.Parse(name, read(file))
		if err != nil {
			t.Fatal(err)
		}
		if p.String() != read(file) {
			t.Errorf("%s is not sorted, or was not written by make igt-table", file)
		}
		places = append(places, p)
	}
	page := igttable.Page(places, reasons)
	if *update {
		if err := os.WriteFile("igt.md", []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(page, read("igt.md")); diff != "" {
		t.Errorf("igt.md is not made of igt/*.txt: go test ./docs -update (-results +file):\n%s", diff)
	}
	if strings.Contains(page, "%!") {
		t.Error("a wrong format in igt.md")
	}
}
