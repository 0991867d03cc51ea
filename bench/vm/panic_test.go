package vm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A panic is found anywhere in a kernel line, and not in lines of other programs.
func TestFindPanic(t *testing.T) {
	const head = "Kernel panic - not syncing: VFS: no root"
	for text, want := range map[string]string{
		head:                                head,
		"[    5.100000] " + head + "\r\n":   head,
		"<0>[    5.100000][    T1] " + head: head,
		"<0>" + head:                        head,
		"a\n(initramfs) [    5.100000] " + head + "\nb":                     head,
		"Begin: Running /scripts/x ... [    5.100000] " + head:              head,
		"\x1b[0m[    5.100000] " + head:                                     head,
		"\x1b]0;t\x07\x1bc" + head:                                          head,
		"root@guest:~# <0>[    5.100000] " + head + "\r\n[    5.2] trace\n": head,
		"root@guest:~# grep '" + head + "' log":                             "",
		"[    5.100000] ---[ end " + head + " ]---":                         "",
		"": "",
	} {
		if got := findPanic(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// A panic is found behind a line that is longer than the search's buffer.
func TestConsoleSearchLongLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	must(
		t,
		os.WriteFile(
			path, []byte(strings.Repeat("#", 2*maxLook)+"[    5.100000] Kernel panic - not syncing: x\n"), 0o600,
		),
	)
	var s consoleSearch
	for range 4 {
		if s.panicked(path) {
			return
		}
	}
	t.Error("the panic was not found")
}
