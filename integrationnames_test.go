package vmtb_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryIntegrationTestRuns: "make integration" runs what is called TestIntegration..., and not the unit tests again.
func TestEveryIntegrationTestRuns(t *testing.T) {
	name := regexp.MustCompile(`(?m)^func (Test\w*)\(t \*testing`)
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_integration_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range name.FindAllStringSubmatch(string(text), -1) {
			if m[1] != "TestMain" && !strings.HasPrefix(m[1], "TestIntegration") {
				t.Errorf("%s: %s: make integration does not run it", path, m[1])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
