//go:build lab

package lab_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/internal/booktest"
	"vmtb/lab"
)

// notInTheDUT are the commands of the book that TestBook does not run in the DUT, by what they begin with, and where they are run.
var notInTheDUT = []struct{ prefix, where string }{
	{"make ", "the README's two commands, and TestIntegrationInstall"},
	{"scp ", "nowhere: it needs a machine called dut; TestDeployed does the same"},
	{"go build -o acme-vmtb", "TestDeployed"},
	{"./acme-vmtb ", "TestDeployed, and examples/private-flows by itself"},
	{"vmtb image build ", "testdata/integration/image.txtar"},
	{"vmtb lab ", "TestBookLab"},
}

// bookStdin is what is typed into commands that read it: the guard byte of the console, Ctrl-], and the end of a shell.
var bookStdin = map[string]string{
	"vmtb vm console vm0": "\x1d",
	"vmtb vm shell vm0":   "exit\n",
	"vmtb lab shell":      "\x1d",
	"vmtb lab shell --package=python3-pytest,strace": "\x1d",
}

// bookCodes are exit codes of commands that are not 0: nothing has failed before.
var bookCodes = map[string]int{
	"vmtb run --last-failed --vm-image=guest_os.img": flow.ExitNoMatch,
	"vmtb lab run --last-failed":                     flow.ExitNoMatch,
}

// bookFlags is a program vmtb for the book's commands: what a run selects is cut down to what shows that the command works.
const bookFlags = `#!/bin/sh
case "$*" in
"run xe_contract"*) exec VMTB "$@" -k test_vfs_text ;;
"run --dry-run"*) ;;
run*) exec VMTB "$@" -k 'test_vm_boot and 1vf' ;;
esac
exec VMTB "$@"
`

// bookConfig is the configuration of the book's reader, on a machine whose CPU is emulated.
const bookConfig = `{"guest": {"os_image": "guest_os.img"}, "vm": {"memory_mib": 256}, "timeout_scale": 5}`

// TestBook runs the commands that the book shows, as they stand there and in their order, on a machine under test.
func TestBook(t *testing.T) {
	t.Parallel()
	commands, err := booktest.Commands("..")
	if err != nil {
		t.Fatal(err)
	}
	d := start(t)
	dir := filepath.Join(d.dir, "book")
	if err := d.furnish(dir); err != nil {
		t.Fatal(err)
	}
	d.must(t.Context(), t, fmt.Sprintf(`mkdir -p /run/book && cp %s/vmtb.bin /run/book/ && cp %s/vmtb.sh /run/book/vmtb && chmod +x /run/book/vmtb`, dir, dir))
	// LAVA's own commands, which a test definition finds on its DUT.
	d.must(t.Context(), t, `for c in set case; do printf '#!/bin/sh\necho lava-test-%s "$@"\n' $c >/run/book/lava-test-$c; chmod +x /run/book/lava-test-$c; done`)
	d.try(t, dir, booktest.Command{Text: "vmtb run --run-dir=first"}) // for chapters that tell what to do afterwards
	file, ran := "", map[string]bool{}
	for _, c := range commands {
		if inTheDUT(c.Text) && !ran[c.Text] {
			// Each chapter begins on a machine that is as it was; and so do commands that take VFs for themselves.
			if c.File != file || strings.HasPrefix(c.Text, "vmtb vf enable") || strings.HasPrefix(c.Text, "vmtb run") {
				d.says(t, 0, "", "recover")
			}
			d.try(t, dir, c)
			file, ran[c.Text] = c.File, !changes(c.Text)
		}
	}
	if len(ran) < 50 {
		t.Errorf("%d commands", len(ran))
	}
	d.says(t, 0, "", "recover")
	d.clean(t)
}

// changes reports whether what follows a command needs what it does: then it is run wherever it stands.
func changes(text string) bool {
	return strings.HasPrefix(text, "vmtb vf ") || strings.HasPrefix(text, "vmtb vm ")
}

func inTheDUT(text string) bool {
	for _, other := range notInTheDUT {
		if strings.HasPrefix(text, other.prefix) {
			return false
		}
	}
	return true
}

// furnish makes the directory in which a reader types the book's commands, with the files that they name.
func (d *dut) furnish(dir string) error {
	program, err := os.ReadFile(os.Getenv("VMTB"))
	if err != nil {
		return err
	}
	for name, content := range map[string]string{
		"vmtb_config.json": bookConfig,
		"vmtb.bin":         string(program),
		"vmtb.sh":          strings.ReplaceAll(bookFlags, "VMTB", "/run/book/vmtb.bin"),
		"xe.ko":            "a module",
	} {
		if err := os.MkdirAll(filepath.Join(dir, "vmtb-results"), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755); err != nil {
			return err
		}
	}
	// Run directories that are there already go by the names that the book gives them.
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
		Argv: []string{"/bin/sh", "-c", c.Text}, Dir: dir, Env: []string{"PATH=/run/book:/usr/sbin:/usr/bin:/sbin:/bin"},
		Stdin: []byte(bookStdin[c.Text]), Stdout: d.out, Stderr: d.out,
	}
	began := time.Now()
	if r, err := d.Exec(ctx, line); err != nil || r.Signal != 0 || r.ExitCode != bookCodes[c.Text] {
		t.Errorf("%s:%d: %s: %v, %v", c.File, c.Line, c.Text, r, err)
	}
	fmt.Fprintf(d.out, "(%s)\n", time.Since(began).Round(100*time.Millisecond))
}

// bookLabFlags is bookFlags for the machine that has the lab; its cache goes with the test if it is to be cleaned.
const bookLabFlags = `#!/bin/sh
case "$*" in
"lab clean") export XDG_CACHE_HOME=$PWD/cache ;;
"lab run"*xe_contract) exec VMTB "$@" -k test_vfs_text ;;
"lab run"*) exec VMTB "$@" -k 'test_vm_boot and 1vf' ;;
esac
exec VMTB "$@"
`

// TestBookLab runs the commands that the book shows for the lab, on this machine. Each boots a DUT of its own, so this takes its time.
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
	flags := strings.ReplaceAll(bookLabFlags, "VMTB", os.Getenv("VMTB"))
	if err := os.WriteFile(filepath.Join(dir, "vmtb"), []byte(flags), 0o755); err != nil {
		t.Fatal(err)
	}
	ran := map[string]bool{}
	for _, c := range commands {
		if !strings.HasPrefix(c.Text, "vmtb lab ") || ran[c.Text] {
			continue
		}
		ran[c.Text] = true
		fmt.Fprintf(t.Output(), "\n%s:%d# %s\n", c.File, c.Line, c.Text)
		cmd := exec.CommandContext(t.Context(), "script", "-qec", c.Text, "/dev/null") // on a terminal, which the shell wants
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
