package doctor

import (
	"context"
	"io/fs"
	"strings"
	"testing"

	"vmtb/bench"
)

// A guestFiles is a guest with these files only.
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

// A guest that hides kernel messages from the serial console gets a warning with the remedy.
func TestLookAtConsole(t *testing.T) {
	const serial = "tty0                 -WU (EC  p  )    4:1\nttyS0                -W- (E   p a)    4:64\n"
	for name, c := range map[string]struct {
		consoles, printk, time, cmdline string
		status                          Status
		found, remedy                   string
	}{
		"ours": {
			serial, "7\t4\t1\t7\n", "Y\n", "console=ttyS0 loglevel=7 console_msg_format=syslog\n", OK, "with levels",
			"",
		},
		"ignore_loglevel": {serial, "15\t4\t1\t7\n", "Y\n", "console=ttyS0 debug\n", OK, "without levels", ""},
		"quiet": {
			serial, "4\t4\t1\t7\n", "Y\n", "console=ttyS0 quiet\n", Warn, "do not see its warnings", "loglevel=7",
		},
		"loglevel=3": {
			serial, "3\t4\t1\t7\n", "Y\n", "console=ttyS0 loglevel=3\n", Warn, "errors and warnings", "without quiet",
		},
		"loglevel=5": {
			serial, "5\t4\t1\t7\n", "Y\n", "console=ttyS0\n", Warn, "reset of the GPU", "kernel.printk",
		},
		"no serial": {
			"tty0                 -WU (EC  p  )    4:1\n", "7\t4\t1\t7\n", "Y\n", "\n", Warn, "serial console",
			"console=ttyS0",
		},
		"another serial": {
			"ttyS1                -W- (E   p a)    4:65\n", "7\t4\t1\t7\n", "Y\n", "\n", Warn, "serial console",
			"console=ttyS0",
		},
		"no times":  {serial, "7\t4\t1\t7\n", "N\n", "console=ttyS0\n", Warn, "no times", "printk.time=1"},
		"no kernel": {serial, "", "Y\n", "", Skipped, "printk", ""},
	} {
		d := checkGuestConsole(t.Context(), guestFiles{files: map[string]string{
			"/proc/consoles": c.consoles, "/proc/sys/kernel/printk": c.printk,
			"/sys/module/printk/parameters/time": c.time, "/proc/cmdline": c.cmdline,
		}})
		if d.Status != c.status || !strings.Contains(d.Found, c.found) || !strings.Contains(d.Remedy, c.remedy) {
			t.Errorf("%s: %+v", name, d)
		}
	}
	if d := checkGuestConsole(t.Context(), guestFiles{}); d.Status != Bad {
		t.Errorf("without files: %+v", d)
	}
}
