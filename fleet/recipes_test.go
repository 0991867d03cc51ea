package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The recipes in YAML are valid YAML and have the keys that their engine needs. Tests in vmtb's own
// module check the commands of vmtb in recipes.
func TestRecipesAreYAML(t *testing.T) {
	want := map[string][]string{
		"lava/job.yaml":        {"device_type", "job_name", "timeouts", "visibility", "tags", "actions"},
		"lava/health.yaml":     {"device_type", "job_name", "timeouts", "visibility", "actions"},
		"gitlab/gitlab-ci.yml": {"stages", "flows", "report"},
	}
	files, err := filepath.Glob("../examples/fleet/*/*.y*ml")
	if err != nil || len(files) != len(want) {
		t.Fatalf("%q, %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var recipe map[string]any
		if err := yaml.Unmarshal(data, &recipe); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, name := range want[strings.TrimPrefix(file, "../examples/fleet/")] {
			if recipe[name] == nil {
				t.Errorf("%s has no %s", file, name)
			}
		}
		actions, _ := recipe["actions"].([]any)
		for i, kind := range []string{"deploy", "boot", "test"} {
			if len(actions) == 0 {
				break
			}
			if action, _ := actions[i].(map[string]any); action[kind] == nil {
				t.Errorf("%s: action %d is no %s", file, i, kind)
			}
		}
	}
}
