package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vmtb/bench"
	"vmtb/bench/vm"
)

// vmtb can read the configuration of a lab.
func TestLabConfig(t *testing.T) {
	c, err := bench.ParseConfig("vmtb_config.json", []byte(config(7.5)))
	if err != nil || c.Guest.OSImage != GuestImage || c.VM.MemoryMiB != GuestMiB || c.TimeoutScale != 7.5 {
		t.Errorf("%+v, %v", c, err)
	}
}

// GPUOf finds the kind of GPU from the lab's hardware.
func TestGPUOf(t *testing.T) {
	for _, gpu := range GPUs {
		device, _ := gpu.hardware(nil)
		if got := GPUOf(vm.Spec{Devices: []string{"intel-iommu", device}}); got != gpu {
			t.Errorf("GPU %s: got %s", gpu, got)
		}
	}
	if got := GPUOf(vm.Spec{Devices: []string{"igb"}}); got != "" {
		t.Errorf("no GPU of the lab: got %s", got)
	}
}

// With the start-up file, a completion gets the whole current word, even with ":" and "=" in it.
func TestLabBashrc(t *testing.T) {
	rc := filepath.Join(t.TempDir(), "rc")
	if err := os.WriteFile(rc, []byte(bashrc), 0o600); err != nil {
		t.Fatal(err)
	}
	const script = `source "$1"
COMP_WORDS=(vmtb vm cp --x=a:b) COMP_CWORD=3
_get_comp_words_by_ref -n "=:" cur prev words cword
__ltrim_colon_completions "$cur"
echo "$cur|$prev|${#words[@]}|$cword|$COMP_WORDBREAKS"`
	out, err := exec.Command("bash", "-c", script, "bash", rc).CombinedOutput()
	got := string(out)
	if err != nil || !strings.HasPrefix(got, "--x=a:b|cp|4|3|") ||
		strings.ContainsAny(strings.TrimPrefix(got, "--x=a:b"), "=:") {
		t.Errorf("%q, %v", got, err)
	}
}
