//go:build lab

package lab_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/internal/booktest"
	"vmtb/lab"
)

// notInTheDUT has the prefixes of the book's commands that TestBook does not run in the DUT.
var notInTheDUT = []string{
	// CI and people begin with set-up, demo and test. TestIntegrationInstall and TestDeployed run
	// the dist.sh of the others.
	"make ",
	"scp ",              // needs a machine called dut
	"go mod ",           // TestBookModule runs it
	"go build ",         // TestBookModule and TestDeployed build
	"./acme-vmtb ",      // TestDeployed runs it in the DUT
	"vmtb image build ", // see testdata/integration/image.txtar
	"vmtb lab ",         // see TestBookLab
}

// bookStdin has the input of commands that read it. Ctrl-] leaves a console and the lab.
var bookStdin = map[string]string{
	"vmtb vm console vm0": "\x1d",
	"vmtb vm shell vm0":   "exit\n",
	"vmtb lab shell":      "\x1d",
	"vmtb lab shell --package=python3-pytest,strace": "\x1d",
}

// bookCodes has the exit codes that are not 0. No earlier run had a failure here.
var bookCodes = map[string]int{
	"vmtb run --last-failed --vm-image=guest_os.img": flow.ExitNoMatch,
	"vmtb lab run --last-failed":                     flow.ExitNoMatch,
}

// bookProgram returns a script that runs vmtb for the book's commands. It selects only one short
// flow for a run, and gives "lab clean" a separate cache.
func bookProgram(vmtb string) string {
	return fmt.Sprintf(`#!/bin/sh
case "$*" in
"run --dry-run"*) ;;
"lab clean") export XDG_CACHE_HOME=$PWD/cache ;;
"run "*xe_contract | "lab run "*xe_contract) set -- "$@" -k test_vfs_text ;;
"run "* | "lab run"*) set -- "$@" -k 'test_vm_boot and 1vf' ;;
esac
exec %s "$@"
`, vmtb)
}

// bookConfig is the configuration of the book's reader, for a machine with an emulated CPU.
const bookConfig = `{"guest": {"os_image": "guest_os.img"}, "vm": {"memory_mib": 256}, "timeout_scale": 5}`

// TestBook runs the book's commands in the DUT, in order and unchanged, through bookProgram.
func TestBook(t *testing.T) {
	if !full() {
		t.Skip("make lab-full")
	}
	t.Parallel()
	commands, err := booktest.Commands("..")
	if err != nil {
		t.Fatal(err)
	}
	// Some commands need local memory, and some save a VF.
	d := startWith(t, lab.BuildOptions{GPU: lab.BMG, Migration: true}, lab.Options{})
	dir := filepath.Join(d.dir, "book")
	if err := d.furnish(dir); err != nil {
		t.Fatal(err)
	}
	d.must(t.Context(), t, "cp -r "+dir+"/bin /run/book")
	d.try(t, dir, booktest.Command{Text: "vmtb run --run-dir=first"}) // some chapters begin after a run
	file, ran := "", map[string]bool{}
	for _, c := range commands {
		if !inTheDUT(c.Text) || ran[c.Text] && !leadsOn(c.Text) {
			continue
		}
		// Each chapter begins on a clean host, and so does each command that needs the VFs itself.
		if c.File != file || strings.HasPrefix(c.Text, "vmtb vf enable") || strings.HasPrefix(c.Text, "vmtb run") {
			d.says(t, 0, "", "recover")
		}
		d.try(t, dir, c)
		file, ran[c.Text] = c.File, true
	}
	if len(ran) < 50 {
		t.Errorf("%d commands", len(ran))
	}
	d.says(t, 0, "", "recover")
	d.clean(t)
}

// leadsOn reports whether later commands need the effect of a command. TestBook then runs the
// command each time.
func leadsOn(text string) bool {
	return strings.HasPrefix(text, "vmtb vf ") || strings.HasPrefix(text, "vmtb vm ")
}

func inTheDUT(text string) bool {
	return !slices.ContainsFunc(notInTheDUT, func(prefix string) bool { return strings.HasPrefix(text, prefix) })
}

// furnish makes the directory in which a reader types the book's commands, with the files that they
// name.
func (d *dut) furnish(dir string) error {
	program, err := os.ReadFile(os.Getenv("VMTB"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
		return err
	}
	// A test definition of LAVA finds these commands on its DUT.
	const lava = "#!/bin/sh\necho ${0##*/} \"$@\"\n"
	for name, content := range map[string]string{
		"vmtb_config.json":   bookConfig,
		"bin/vmtb.bin":       string(program),
		"bin/vmtb":           bookProgram("/run/book/vmtb.bin"),
		"bin/lava-test-set":  lava,
		"bin/lava-test-case": lava,
		"xe.ko":              "a module",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755); err != nil {
			return err
		}
	}
	// These run directories have the names that the book uses.
	names := []string{"DIR", "EARLIER", "vmtb-results/20261123-120000", "vmtb-results/20261126-190000-lab/run"}
	for _, name := range names {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(filepath.Join(dir, "first"), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return os.Symlink(lab.GuestImage, filepath.Join(dir, "guest_os.img"))
}

// try runs a command of the book in the DUT.
func (d *dut) try(t *testing.T, dir string, c booktest.Command) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	fmt.Fprintf(d.out, "\n%s:%d# %s\n", c.File, c.Line, c.Text)
	line := bench.Command{
		Argv: []string{"/bin/sh", "-c", c.Text}, Dir: dir,
		Env:   []string{"PATH=/run/book:/usr/sbin:/usr/bin:/sbin:/bin"},
		Stdin: []byte(bookStdin[c.Text]), Stdout: d.out, Stderr: d.out,
	}
	began := time.Now()
	if r, err := d.Exec(ctx, line); err != nil || r.Signal != 0 || r.ExitCode != bookCodes[c.Text] {
		t.Errorf("%s:%d: %s: %v, %v", c.File, c.Line, c.Text, r, err)
	}
	fmt.Fprintf(d.out, "(%s)\n", time.Since(began).Round(100*time.Millisecond))
}

// TestBookLab runs the book's commands for the lab on this machine. It is slow: each command boots
// its own DUT.
func TestBookLab(t *testing.T) {
	if !full() {
		t.Skip("make lab-full")
	}
	t.Parallel()
	commands, err := booktest.Commands("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "vmtb"), []byte(bookProgram(os.Getenv("VMTB"))), 0o755); err != nil {
		t.Fatal(err)
	}
	ran := map[string]bool{}
	for _, c := range commands {
		if !strings.HasPrefix(c.Text, "vmtb lab ") || ran[c.Text] {
			continue
		}
		ran[c.Text] = true
		fmt.Fprintf(t.Output(), "\n%s:%d# %s\n", c.File, c.Line, c.Text)
		// the shell needs a terminal
		cmd := exec.CommandContext(t.Context(), "script", "-qec", c.Text, "/dev/null")
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		cmd.Stdin, cmd.Stdout = strings.NewReader(bookStdin[c.Text]), t.Output()
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != bookCodes[c.Text] {
			t.Errorf("%s:%d: %s: %v", c.File, c.Line, c.Text, err)
		}
	}
	if len(ran) < 8 {
		t.Errorf("%d commands", len(ran))
	}
}
