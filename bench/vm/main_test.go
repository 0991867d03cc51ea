package vm

import (
	"os"
	"testing"

	"vmtb/internal/fake/fakeqemu"
)

func TestMain(m *testing.M) {
	if code, ran := Guard(os.Args); ran {
		os.Exit(code)
	}
	if code, ran := fakeqemu.Play(os.Args); ran {
		os.Exit(code)
	}
	if code, ran := fakeQEMU(os.Args); ran {
		os.Exit(code)
	}
	if code, ran := victim(os.Args); ran {
		os.Exit(code)
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // a guard with the race detector would end a second late
	os.Exit(m.Run())
}
