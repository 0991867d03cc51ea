package guard

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if code, ran := Run(os.Args); ran {
		os.Exit(code)
	}
	if code, ran := victim(os.Args); ran {
		os.Exit(code)
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // with the race detector, a guard would end a second late
	os.Exit(m.Run())
}
