//go:build lab

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The machine of the engine loses its power: "vmtb-fleet serve" runs in a lab DUT, whose QEMU is
// killed with SIGKILL. What the DUT had not synced is lost with its memory. When another DUT serves
// the same disk, all submits and results that the engine had acknowledged are there (check 16).
func TestPowerLoss(t *testing.T) {
	program := os.Getenv("VMTB")
	if os.Getenv("VMTB_LAB_FULL") == "" || program == "" {
		t.Skip("make lab-full: it needs a lab DUT")
	}
	dir := t.TempDir()
	vmtb := func(args ...string) *exec.Cmd {
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), "VMTB_STATE_DIR="+filepath.Join(dir, "here"))
		return cmd
	}
	must := func(cmd *exec.Cmd) string {
		t.Helper()
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", cmd.Args, err, out)
		}
		return string(out)
	}
	t.Cleanup(func() { _ = vmtb("lab", "stop", "--all").Run() })
	for _, f := range []string{os.Args[0], "testdata/power.sh"} {
		must(exec.Command("cp", f, dir))
	}
	self := filepath.Join(dir, filepath.Base(os.Args[0]))
	disk, err := os.Create(filepath.Join(dir, "disk"))
	if err == nil {
		err = disk.Truncate(512 << 20)
	}
	if err != nil {
		t.Fatal(err)
	}
	disk.Close()
	must(exec.Command("/sbin/mke2fs", "-q", "-t", "ext4", disk.Name()))
	script := func(name, what string) *exec.Cmd {
		return vmtb("lab", "exec", "--lab="+name, "--", "sh", filepath.Join(dir, "power.sh"), self, dir, what)
	}
	for _, name := range []string{"first", "second"} {
		must(vmtb("lab", "start", name, "--share", dir))
		load := script(name, "load")
		var out bytes.Buffer
		load.Stdout, load.Stderr = &out, &out
		if err := load.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = load.Wait(); close(ended) }()
		late := time.After(10 * time.Minute)
		before := len(acknowledged(dir))
		for len(acknowledged(dir)) < before+20 {
			select {
			case <-time.After(10 * time.Millisecond):
				continue
			case <-late:
				_ = load.Process.Kill()
				<-ended
			case <-ended:
			}
			log, _ := os.ReadFile(filepath.Join(dir, "serve.log"))
			t.Fatalf("the engine does not work:\n%s%s", out.String(), log)
		}
		if err := syscall.Kill(qemuOf(t, vmtb("lab", "list", "--json"), name), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-ended
		lines := acknowledged(dir)
		must(vmtb("lab", "start", name+"-after", "--share", dir))
		if out := must(script(name+"-after", "check")); out != "checked\n" {
			t.Errorf("after the loss of power:\n%s", out)
		}
		t.Logf("%s: %d submits and results acknowledged before the loss of power", name, len(lines)-before)
		must(vmtb("lab", "stop", name+"-after"))
		if err := os.Rename(filepath.Join(dir, "acknowledged"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		must(exec.Command("/sbin/mke2fs", "-q", "-F", "-t", "ext4", disk.Name()))
	}
}

// acknowledged returns the lines that power.sh has written.
func acknowledged(dir string) []string {
	data, _ := os.ReadFile(filepath.Join(dir, "acknowledged")) // there is none at first
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// qemuOf returns the pid of a lab's QEMU. list prints the labs.
func qemuOf(t *testing.T, list *exec.Cmd, name string) int {
	t.Helper()
	out, err := list.Output()
	var labs []struct {
		Name string `json:"name"`
		QEMU int    `json:"qemu_pid"`
	}
	if err == nil {
		err = json.Unmarshal(out, &labs)
	}
	for _, l := range labs {
		if l.Name == name && l.QEMU > 0 {
			return l.QEMU
		}
	}
	t.Fatalf("no QEMU of lab %s: %v, %s", name, err, out)
	return 0
}
