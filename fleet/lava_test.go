//go:build lava

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"vmtb/flow"
)

// The recipe for LAVA runs on LAVA, with Debian's packages, in namespaces, with two devices of type
// ssh (check 18). Each job runs on the device with its tag, and LAVA has a result of each flow. If a
// DUT dies, LAVA keeps the results of the flows that had ended, and resubmit.sh submits the job
// again. Uploaded run directories merge into one run. The test needs root, and 2 GB of memory.
// apt-get downloads 87 MB the first time and installs nothing. "make fleet-lava" runs the test.
func TestLAVA(t *testing.T) {
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	debs, dir := filepath.Join(cache, "vmtb", "lava-debs"), t.TempDir()
	for _, d := range []string{filepath.Join(debs, "partial"), filepath.Join(dir, "mnt"), filepath.Join(dir, "out")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := func(name string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s %v: %v", name, args, err)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(debs, "lava-server_*.deb")); len(files) == 0 {
		command("apt-get", "install", "-qq", "--download-only", "--no-install-recommends", "-o", "Debug::NoLocking=1",
			"-o", "Dir::Cache::archives="+debs, "lava-server", "lava-dispatcher", "lavacli",
			"openssh-server", "postgresql")
	}
	if err := os.CopyFS(filepath.Join(dir, "recipe"), os.DirFS("../examples/fleet/lava")); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"lava.sh", "lava-up.sh", "lava-lab.sh"} {
		command("cp", filepath.Join("testdata", f), dir)
	}
	command("cp", self, filepath.Join(dir, "toys"))
	onSSH(t, dir, "job.yaml", "bmg.yaml", "test_basic", "test_toy::TestToy")
	onSSH(t, dir, "job.yaml", "ptl.yaml", "test_basic", "test_toy::TestWeak", "gpu-bmg", "gpu-ptl")
	onSSH(t, dir, "job.yaml", "die.yaml", "test_basic", "test_toy::TestSlow::*[1VF-slow]")
	onSSH(t, dir, "health.yaml", "health.yaml", "test_basic::TestVmSetup::test_vm_boot[1VF]", "test_toy::TestHealth")
	command("unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child",
		"--propagation", "private", "sh", filepath.Join(dir, "lava.sh"), dir, debs)
	checkLAVA(t, filepath.Join(dir, "out"))
	mergeLAVA(t, filepath.Join(dir, "out"), self)
}

// onSSH makes a job from a recipe for a device of type ssh, which cannot be given a kernel. The
// words of the recipe are replaced. A new root file system has no run directory, so the job deletes
// that of the job before.
func onSSH(t *testing.T, dir, recipe, job string, words ...string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "recipe", recipe))
	if err != nil {
		t.Fatal(err)
	}
	words = append(words, "UPLOAD_URL", "http://127.0.0.1:8080/"+strings.TrimSuffix(job, ".yaml"))
	var v map[string]any
	if err := yaml.Unmarshal([]byte(strings.NewReplacer(words...).Replace(string(data))), &v); err != nil {
		t.Fatal(err)
	}
	v["device_type"] = "ssh"
	actions := v["actions"].([]any)
	actions[0] = map[string]any{"deploy": map[string]any{"to": "ssh", "os": "debian"}}
	actions[1] = map[string]any{"boot": map[string]any{"method": "ssh", "connection": "ssh", "prompts": []string{"#"}}}
	definition := actions[2].(map[string]any)["test"].(map[string]any)["definitions"].([]any)[0].(map[string]any)
	run := definition["repository"].(map[string]any)["run"].(map[string]any)
	run["steps"] = append([]any{"rm -rf /var/tmp/vmtb-run $TOY_DIR/state"}, run["steps"].([]any)...)
	if data, err = yaml.Marshal(v); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, job), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// checkLAVA compares what LAVA has about the jobs with what the jobs did.
func checkLAVA(t *testing.T, out string) {
	t.Helper()
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for _, c := range []struct {
		job, device, health      string
		pass, fail, other, infra int
	}{
		{"bmg", "dut1", "Complete", 71, 1, 0, 0},
		{"ptl", "dut2", "Complete", 6, 0, 0, 0},
		{"die", "dut1", "Incomplete", 1, 0, 0, 1},
		{"again", "dut1", "Complete", 3, 0, 0, 0},
	} {
		info := read(c.job + ".job")
		if !regexp.MustCompile(`(?m)^device *: `+c.device+`$`).MatchString(info) ||
			!regexp.MustCompile(`(?m)^Health *: `+c.health+`$`).MatchString(info) {
			t.Errorf("%s: want %s on %s:\n%s", c.job, c.health, c.device, info)
		}
		var results []struct{ Suite, Name, Result string }
		text := read(c.job + ".yaml")
		if err := yaml.Unmarshal([]byte(text), &results); err != nil {
			t.Fatal(err)
		}
		n := map[string]int{}
		for _, r := range results {
			if r.Suite != "lava" {
				n[r.Result]++
			}
		}
		infra := strings.Count(text, "error_type: Infrastructure")
		if n["pass"] != c.pass || n["fail"] != c.fail || len(n) > 2 || min(infra, 1) != c.infra {
			t.Errorf("%s: LAVA has %v, %d infrastructure errors; want %d, %d", c.job, n, infra, c.pass, c.fail)
		}
		t.Logf("%s: %s on %s, %v", c.job, c.health, c.device, n)
	}
	t.Logf("\n%s%s", read("jobs"), read("devices"))
}

// mergeLAVA merges the run directories that the jobs have uploaded.
func mergeLAVA(t *testing.T, out, self string) {
	t.Helper()
	var dirs []string
	for _, job := range []string{"bmg", "ptl", "die"} { // the second job of die.yaml uploads to the same name
		f, err := os.Open(filepath.Join(out, job+".tar.gz"))
		if err != nil {
			t.Error(err)
			continue
		}
		defer f.Close()
		dirs = append(dirs, filepath.Join(out, job))
		if err := unpack(f, dirs[len(dirs)-1], 1<<30); err != nil {
			t.Fatal(err)
		}
		dirs[len(dirs)-1] += "/vmtb-run"
	}
	all := filepath.Join(out, "all")
	args := append([]string{"as-vmtb", "merge", "-o", all}, dirs...)
	if text, err := exec.CommandContext(t.Context(), self, args...).CombinedOutput(); err != nil {
		t.Fatalf("merge: %v\n%s", err, text)
	}
	run, err := flow.OpenRun(all)
	if err != nil {
		t.Fatal(err)
	}
	if c := counts(run); len(run.Info.Plan) != 81 || c[flow.Pass] != 80 || c[flow.Fail] != 1 {
		t.Errorf("%d flows: %v", len(run.Info.Plan), c)
	}
}
