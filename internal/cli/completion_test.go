package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// bashCompletion is the bash-completion package. labCompletion replaces it in the lab's shells
// (lab/kept.go).
const (
	bashCompletion = "/usr/share/bash-completion/bash_completion"
	labCompletion  = `COMP_WORDBREAKS=${COMP_WORDBREAKS//[=:]/}
_get_comp_words_by_ref() {
	words=("${COMP_WORDS[@]}") cword=$COMP_CWORD cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
}
__ltrim_colon_completions() { :; }
_filedir() {
	compopt -o filenames
	[[ $1 == -d ]] && set -- -d || set -- -f
	mapfile -t COMPREPLY < <(compgen "$1" -- "${cur#[\'\"]}")
}
`
)

// completed has typed lines, and each line after a Tab.
var completed = []struct{ typed, want string }{
	{`vmtb vm sna`, `vmtb vm snapshots `},
	{`vmtb run test_basic::TestVmS`, `vmtb run test_basic::TestVmSetup::test_vm_boot\[`},
	{`vmtb run 'test_basic::TestVmS`, `vmtb run 'test_basic::TestVmSetup::test_vm_boot[`},
	{`vmtb run "test_basic::TestVmS`, `vmtb run "test_basic::TestVmSetup::test_vm_boot[`},
	{`vmtb run "test_b`, `vmtb run "test_basic::TestV`},
	{`vmtb run test_basic::'TestVmS`, `vmtb run test_basic::'TestVmSetup::test_vm_boot[`},
	{`vmtb run 'test_basic' 'test_basic::TestVmS`, `vmtb run 'test_basic' 'test_basic::TestVmSetup::test_vm_boot[`},
	{
		`vmtb run 'test_basic::TestVmSetup::test_vm_boot[2VF-(P:AUTO S`,
		`vmtb run 'test_basic::TestVmSetup::test_vm_boot[2VF-(P:AUTO S:INFINITE)]' `,
	},
	{
		`vmtb run "test_basic::TestVmSetup::test_vm_boot[1`,
		`vmtb run "test_basic::TestVmSetup::test_vm_boot[1VF-(P:VGPU_PROFILE S:DEFAULT_PROFILE)]" `,
	},
	{
		`vmtb run test_basic::TestVmSetup::test_vm_boot[1`,
		`vmtb run test_basic::TestVmSetup::test_vm_boot\[1VF-\(P:VGPU_PROFILE\ S:DEFAULT_PROFILE\)\] `,
	},
	{`vmtb run test_basic::TestVmSetup::test_vm_boot[2`, `vmtb run test_basic::TestVmSetup::test_vm_boot\[2VF-\(P:`},
	{
		`vmtb run test_basic::TestVmSetup::test_vm_boot\[2VF-\(P:A`,
		`vmtb run test_basic::TestVmSetup::test_vm_boot\[2VF-\(P:AUTO\ S:INFINITE\)\] `,
	},
	{`vmtb run --report 'ht`, `vmtb run --report 'html' `},
	{`vmtb run --report='ht`, `vmtb run --report='html' `},
	{`vmtb run --report=ht`, `vmtb run --report=html `},
	{`vmtb report r`, `vmtb report runs/`},
	{`vmtb report 'r`, `vmtb report 'runs/`},
	{`vmtb resume "r`, `vmtb resume "runs/`},
	{`vmtb recover runs r`, `vmtb recover runs runs/`},
	{`vmtb run --run-dir=r`, `vmtb run --run-dir=runs/`},
	{`vmtb run --run-dir='r`, `vmtb run --run-dir='runs/`},
	{`vmtb run --failed-in 'r`, `vmtb run --failed-in 'runs/`},
	{`vmtb run --vm-image 'my g`, `vmtb run --vm-image 'my guest.img' `},
	{`vmtb run --vm-image=my`, `vmtb run --vm-image=my\ guest.img `},
	{`vmtb run --firmware ue`, `vmtb run --firmware uefi `},
	{`vmtb run --firmware my`, `vmtb run --firmware my\ guest.img `},
}

// completedBy needs _filedir of the bash-completion package: it filters files by the ends of their
// names.
var completedBy = []struct{ typed, want string }{
	{`vmtb run --vm-image n`, `vmtb run --vm-image named.qcow2 `},
	{`vmtb image check n`, `vmtb image check named.qcow2 `},
	{`vmtb run --config=n`, `vmtb run --config=named.json `},
	{`vmtb run --quarantine 'n`, `vmtb run --quarantine 'named.json' `},
}

// TestBashCompletes types lines into a bash whose input is a pipe, and reads the completed lines.
// Such a bash has its line editor, too.
func TestBashCompletes(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash")
	}
	t.Run("lab", func(t *testing.T) { completesInBash(t, bash, labCompletion, completed) })
	t.Run("package", func(t *testing.T) {
		if _, err := os.Stat(bashCompletion); err != nil {
			t.Skip("the package bash-completion is not installed")
		}
		completesInBash(t, bash, ". "+bashCompletion+"\n", append(completed, completedBy...))
	})
}

func completesInBash(t *testing.T, bash, setup string, lines []struct{ typed, want string }) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"runs", "my guest.img", "named.qcow2", "named.json", "named.txt"} {
		err := os.WriteFile(filepath.Join(dir, name), nil, 0o600)
		if name == "runs" {
			// a file with the same first letter as the directory
			err = os.Rename(filepath.Join(dir, name), filepath.Join(dir, "rest.txt"))
			if err == nil {
				err = os.Mkdir(filepath.Join(dir, name), 0o700)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	const rest = `source <(vmtb completion bash)
bind 'set bell-style none'
bind -x '"\C-t": printf "%s\n" "$READLINE_LINE" >>lines'
`
	rc := filepath.Join(t.TempDir(), "rc")
	if err := os.WriteFile(rc, []byte(setup+rest), 0o600); err != nil {
		t.Fatal(err)
	}
	var keys strings.Builder
	for _, l := range lines {
		keys.WriteString(l.typed + "\t\x14\x15") // Tab, Ctrl-T, Ctrl-U: complete, print, erase
	}
	cmd := exec.CommandContext(t.Context(), bash, "--noprofile", "--rcfile", rc, "-i")
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(keys.String())
	cmd.Env = append(
		os.Environ(), "TERM=dumb", "INPUTRC=/dev/null", "HISTFILE=", "PWD="+dir,
		"VMTB_STATE_DIR="+filepath.Join(dir, "state"),
	)
	screen, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("bash: %v", err) // the exit code of its last command
	}
	data, err := os.ReadFile(filepath.Join(dir, "lines"))
	if err != nil {
		t.Fatalf("%v\n%s", err, screen)
	}
	got := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	if len(got) != len(lines) {
		t.Fatalf("%d lines, want %d\n%s", len(got), len(lines), screen)
	}
	for i, l := range lines {
		if got[i] != l.want {
			t.Errorf("%s<Tab>: %q, want %q", l.typed, got[i], l.want)
		}
	}
}
