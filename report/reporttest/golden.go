package reporttest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vmtb/flow"
)

// Golden compares got with the file name in testdata. In got it replaces the path of each run
// directory by /runs/NAME. If update is set, it writes the file.
func Golden(t *testing.T, update bool, name, got string, runs ...*flow.RunDir) {
	t.Helper()
	for _, run := range runs {
		got = strings.ReplaceAll(got, run.Info.Dir, "/runs/"+filepath.Base(run.Info.Dir))
	}
	path := filepath.Join("testdata", name)
	if update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got)\n%s", path, diff)
	}
}
