//go:build lab

package lab_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKept: commands run in a lab that stays up.
func TestKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	env := append(os.Environ(), "VMTB_STATE_DIR="+dir+"/state")
	vmtb := func(args ...string) (out, errs string, code int) {
		cmd := exec.CommandContext(t.Context(), os.Getenv("VMTB"), args...)
		var o, e bytes.Buffer
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, &o, &e
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return o.String(), e.String(), cmd.ProcessState.ExitCode()
	}
	if out, errs, code := vmtb("lab", "start", "--share", dir); code != 0 || out != "lab0\n" {
		t.Fatalf("lab start: %d, %s%s", code, out, errs)
	}
	defer vmtb("lab", "stop", "--all")
	for _, tt := range []struct {
		line      string
		out, errs string
		code      int
	}{
		{"echo out; echo err >&2; exit 7", "out\n", "err\n", 7},
		{"kill -9 $$", "", "", 128 + 9},
		{"cd; vmtb doctor | grep -c '^ok *pf '", "1\n", "", 0},
		{
			"cd; vmtb doctor | grep -o '/lab/guest.img' | head -1; readlink guest_os.img",
			"/lab/guest.img\n/lab/guest.img\n", "", 0,
		},
		{"echo there >" + dir + "/here; cat " + dir + "/here", "there\n", "", 0},
		{
			`bash --rcfile /etc/vmtb.bashrc -ic 'complete -p vmtb; echo <(true)' 2>/dev/null | tr -d 0-9`,
			"complete -o default -F __start_vmtb vmtb\n/dev/fd/\n", "", 0,
		},
	} {
		if out, errs, code := vmtb("lab", "exec", "--", "sh", "-c", tt.line); out != tt.out || errs != tt.errs ||
			code != tt.code {
			t.Errorf("%s: got %q, %q, %d, want %q, %q, %d", tt.line, out, errs, code, tt.out, tt.errs, tt.code)
		}
	}
	if _, errs, code := vmtb("lab", "exec", "--", "nosuch"); code != 127 ||
		!strings.Contains(errs, "nosuch: not found") {
		t.Errorf("no such command: %d, %s", code, errs)
	}

	// The first signal goes to the command, which may end in its own way.
	cmd := exec.CommandContext(t.Context(), os.Getenv("VMTB"),
		"lab", "exec", "--", "sh", "-c", `trap "echo trapped; exit 9" TERM; echo started; while :; do sleep 0.1; done`)
	cmd.Dir, cmd.Env, cmd.WaitDelay = dir, env, time.Minute
	started, out := make(chan struct{}), &watched{word: "started"}
	out.found = func() { close(started) }
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-started
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the test checks the exit code
	if code := cmd.ProcessState.ExitCode(); code != 9 || !strings.Contains(out.String(), "trapped") {
		t.Errorf("interrupted: exit code %d, %q", code, out.String())
	}
	if out, errs, code := vmtb("lab", "stop"); code != 0 {
		t.Errorf("lab stop: %d, %s%s", code, out, errs)
	}
}

// A watched is a buffer that calls found once, when word has been written.
type watched struct {
	said  bytes.Buffer // not embedded: its ReadFrom would replace Write
	word  string
	found func()
}

func (w *watched) String() string { return w.said.String() }

func (w *watched) Write(p []byte) (int, error) {
	n, err := w.said.Write(p)
	if w.found != nil && strings.Contains(w.String(), w.word) {
		w.found()
		w.found = nil
	}
	return n, err
}
