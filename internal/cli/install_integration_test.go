//go:build integration

package cli_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestIntegrationInstall: the results of "make install" and "make deb" run from their directories,
// with all their files.
func TestIntegrationInstall(t *testing.T) {
	out := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir, cmd.Stderr = "../..", t.Output() // the Makefile's directory
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	has := func(root string, files ...string) {
		t.Helper()
		for _, file := range files {
			if found, err := filepath.Glob(filepath.Join(root, file)); err != nil || len(found) == 0 {
				t.Errorf("%s is not in %s: %v", file, root, err)
			}
		}
	}
	const home = "usr/libexec/igt-gpu-tools/vmtb"

	installed := t.TempDir()
	for range 2 { // the second time over the first
		out("make", "-s", "install", "DESTDIR="+installed, "PREFIX=/usr")
	}
	version := out(filepath.Join(installed, home, "vmtb"), "--version")
	if got := out(filepath.Join(installed, "usr/bin/vmtb"), "--version"); got != version {
		t.Errorf("usr/bin/vmtb has version %q, the one in its home %q", got, version)
	}
	has(installed, "usr/share/man/man1/vmtb-run.1.gz", "usr/share/bash-completion/completions/vmtb",
		"usr/share/zsh/site-functions/_vmtb",
		"usr/share/fish/vendor_completions.d/vmtb.fish")
	has(filepath.Join(installed, home), "vmtb_config.json", "LICENSE", "docs/hardware.md",
		"man/vmtb-run.1.gz", "completions/vmtb.bash",
		"vmm_flows/resources/vgpu_profiles/*.json", "vmm_flows/resources/wsim/*/*.wsim")

	unpacked := t.TempDir()
	lines := strings.Split(out("make", "-s", "deb"), "\n")
	out("dpkg-deb", "-x", lines[len(lines)-1], unpacked)
	if got := out(filepath.Join(unpacked, "usr/bin/vmtb"), "--version"); got != version {
		t.Errorf("the package has version %q, the installed one %q", got, version)
	}
	has(unpacked, home+"/vmtb_config.json", home+"/vmm_flows/resources/wsim/*/*.wsim",
		"usr/share/doc/vmtb/docs/hardware.md",
		"usr/share/man/man1/vmtb-run.1.gz", "usr/share/bash-completion/completions/vmtb",
		"usr/share/zsh/vendor-completions/_vmtb",
		"usr/share/fish/vendor_completions.d/vmtb.fish")
}
