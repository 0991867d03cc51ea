package vm

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"vmtb/bench"
	"vmtb/bench/qmp"
)

// ErrNoDisplay is the error for a picture of a machine that has no VGA card.
var ErrNoDisplay = fmt.Errorf("the machine has no display: %w", bench.ErrNotAvailable)

// Screenshot writes a picture of the machine's screen to file, as PNG. A relative path is one in
// the machine's folder. A machine without a VGA card, as machines are by default, has no screen:
// the error matches [ErrNoDisplay].
func (e *Evidence) Screenshot(ctx context.Context, file string) error {
	if !filepath.IsAbs(file) {
		file = e.logs.path(file)
	}
	err := e.qmp.Execute(ctx, "screendump", map[string]string{"filename": file, "format": "png"}, nil)
	// QEMU 10.0 without a card: "There is no console to take a screendump from". The class says
	// nothing: GenericError.
	if refusal := new(qmp.Error); errors.As(err, &refusal) && strings.Contains(refusal.Desc, "no console") {
		return &bench.UsageError{
			Err:    fmt.Errorf("%s: screenshot: %w", e.life, ErrNoDisplay),
			Advice: `the device "VGA" gives it one: vmtb vm start --vga`,
		}
	}
	return e.life.explain("take a screenshot", err)
}
