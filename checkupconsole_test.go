package vmtb

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"vmtb/bench"
)

// A guestFiles is a guest that has files, and nothing else.
type guestFiles struct {
	bench.Machine
	files map[string]string
}

func (g guestFiles) ReadFile(_ context.Context, name string) ([]byte, error) {
	text, ok := g.files[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return []byte(text), nil
}

// A guest whose kernel keeps something from the serial console is warned of, with what to do.
func TestLookAtConsole(t *testing.T) {
	const serial = "tty0                 -WU (EC  p  )    4:1\nttyS0                -W- (E   p a)    4:64\n"
	for name, c := range map[string]struct {
		consoles, printk, time, cmdline string
		health                          health
		found, remedy                   string
	}{
		"ours":            {serial, "7\t4\t1\t7\n", "Y\n", "console=ttyS0 loglevel=7 console_msg_format=syslog\n", healthy, "with levels", ""},
		"ignore_loglevel": {serial, "15\t4\t1\t7\n", "Y\n", "console=ttyS0 debug\n", healthy, "without levels", ""},
		"quiet":           {serial, "4\t4\t1\t7\n", "Y\n", "console=ttyS0 quiet\n", ailing, "do not see its warnings", "loglevel=7"},
		"loglevel=3":      {serial, "3\t4\t1\t7\n", "Y\n", "console=ttyS0 loglevel=3\n", ailing, "errors and warnings", "without quiet"},
		"loglevel=5":      {serial, "5\t4\t1\t7\n", "Y\n", "console=ttyS0\n", ailing, "reset of the GPU", "kernel.printk"},
		"no serial":       {"tty0                 -WU (EC  p  )    4:1\n", "7\t4\t1\t7\n", "Y\n", "\n", ailing, "serial console", "console=ttyS0"},
		"another serial":  {"ttyS1                -W- (E   p a)    4:65\n", "7\t4\t1\t7\n", "Y\n", "\n", ailing, "serial console", "console=ttyS0"},
		"no times":        {serial, "7\t4\t1\t7\n", "N\n", "console=ttyS0\n", ailing, "no times", "printk.time=1"},
		"no kernel":       {serial, "", "Y\n", "", unasked, "printk", ""},
	} {
		d := lookAtConsole(t.Context(), guestFiles{files: map[string]string{
			"/proc/consoles": c.consoles, "/proc/sys/kernel/printk": c.printk, "/sys/module/printk/parameters/time": c.time, "/proc/cmdline": c.cmdline,
		}})
		if d.Health != c.health || !strings.Contains(d.Found, c.found) || !strings.Contains(d.Remedy, c.remedy) {
			t.Errorf("%s: %+v", name, d)
		}
	}
	if d := lookAtConsole(t.Context(), guestFiles{}); d.Health != sick {
		t.Errorf("without files: %+v", d)
	}
}

// The last line of a console is the last one with text in it.
func TestLastLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	if got := lastLine(path); got != "" {
		t.Errorf("without a console: %q", got)
	}
	for text, want := range map[string]string{
		"":                              "",
		"\r\n \r\n":                     "",
		"one\r\ntwo\r\n\r\n":            "two",
		"one\r\n<6>[    2.000000] half": "<6>[    2.000000] half",
		"one\r\n\x1b[0m\x1b(B\r\n":      "one",
		strings.Repeat("x", 1<<20) + "\nend\n\x1b]0;t\x07": "end",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := lastLine(path); got != want {
			t.Errorf("%.40q: %q, want %q", text, got, want)
		}
	}
}

// A wait for a guest says how long it may take, and shows what the console says meanwhile.
func TestBooting(t *testing.T) {
	console := filepath.Join(t.TempDir(), "console.log")
	if err := os.WriteFile(console, []byte("[    1.000000] Linux\r\n\x1b[0m[    2.000000] init\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		failure := errors.New("not ready")
		err := (&app{err: &said}).booting("vm0", "booting x.img", console, 900*time.Second, func() error {
			time.Sleep(31 * time.Second)
			return failure
		})
		const want = "vm0: booting x.img (15 min at most) ...\nvm0: booting x.img (15 min at most): 30 s  [    2.000000] init\n"
		if got := said.String(); !errors.Is(err, failure) || !strings.HasPrefix(got, want) {
			t.Errorf("%q, %v", got, err)
		}
	})
}
