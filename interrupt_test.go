package vmtb

import (
	"os"
	"os/signal"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// Below nohup the end of the terminal does not end a command.
func TestEndings(t *testing.T) {
	if !signal.Ignored(unix.SIGHUP) {
		if !slices.Contains(endings(), os.Signal(unix.SIGHUP)) {
			t.Error("SIGHUP does not end a command")
		}
		t.Cleanup(func() { signal.Reset(unix.SIGHUP) })
	}
	signal.Ignore(unix.SIGHUP)
	if got, want := endings(), []os.Signal{unix.SIGINT, unix.SIGTERM}; !slices.Equal(got, want) {
		t.Errorf("with SIGHUP ignored %v, want %v", got, want)
	}
}
