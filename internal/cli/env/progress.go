package env

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"vmtb/internal/ansi"
	"vmtb/internal/progress"
	"vmtb/internal/prose"
	"vmtb/report/terminal"
)

// Progress returns the display of the command's steps. who is the label: a machine, or a family of
// commands.
func (e *Env) Progress(who string) *progress.Progress {
	if f, ok := e.Err.(*os.File); ok {
		if look := (terminal.Options{}).For(f); look.Live {
			return progress.New(e.Err, who, look.Width)
		}
	}
	return progress.New(e.Err, who, nil)
}

// Step calls do, which may take a while, and shows the step meanwhile.
func (e *Env) Step(who, what string, do func() error) error {
	return e.Progress(who).Step(what, func(io.Writer) error { return do() })
}

// Booting calls wait, which returns when a guest has booted. Meanwhile it shows the last line of
// the guest's console, a file, and how long the wait may take.
func (e *Env) Booting(who, what, console string, limit time.Duration, wait func() error) error {
	return e.WithConsole(who, fmt.Sprintf("%s (%s at most)", what, prose.Exact(limit)), console, wait)
}

// WithConsole calls do. Meanwhile it shows the last line of a guest's console, which is a file.
func (e *Env) WithConsole(who, what, console string, do func() error) error {
	return e.Progress(who).Step(what, func(log io.Writer) error {
		done, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					fmt.Fprintln(log, lastLine(console))
				case <-done:
					return
				}
			}
		}()
		defer func() { close(done); <-stopped }()
		return do()
	})
}

// lastLine returns the last line of a console that is not blank, or "" if there is none.
func lastLine(console string) string {
	const most = 4 << 10
	f, err := os.Open(console)
	if err != nil {
		return "" // QEMU creates it with the guest's first output
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	data, err := io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-most), most))
	if err != nil {
		return ""
	}
	lines := strings.FieldsFunc(ansi.Strip(string(data)), func(r rune) bool { return r == '\n' || r == '\r' })
	for i := len(lines) - 1; i >= 0; i-- {
		if line := strings.TrimSpace(lines[i]); line != "" {
			return line
		}
	}
	return ""
}
