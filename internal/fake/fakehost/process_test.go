package fakehost_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/internal/fake/fakehost"
)

type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// Commands of the fake host are processes and take writers, as on a real host.
func TestProcess(t *testing.T) {
	h := host.New(fakehost.New(fakehost.Options{}))
	var out bytes.Buffer
	p, err := h.Start(t.Context(), bench.Command{Argv: []string{"dmesg"}, Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if r, err := p.Wait(t.Context()); err != nil || !r.OK() || len(r.Stdout) > 0 ||
			!strings.Contains(out.String(), "fake kernel") {
			t.Errorf("%+v, %v, %q", r, err, &out)
		}
	}
	if err := p.Signal(t.Context(), 15); !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	if r, err := p.Kill(t.Context()); err != nil || !r.OK() {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := h.Exec(t.Context(), bench.Command{
		Argv: []string{"dmesg"}, Stdout: fullWriter{},
	}); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	if r, err := h.Exec(t.Context(), bench.Command{Argv: []string{"dmesg"}}); err != nil ||
		string(r.Stdout) != out.String() {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := h.Start(t.Context(), bench.Command{Argv: []string{"no-such-program"}}); !errors.Is(
		err, syscall.ENOENT,
	) {
		t.Error(err)
	}
}
