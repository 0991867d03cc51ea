package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"vmtb/bench/vm/guard"
	"vmtb/internal/fake/fakeqemu"
)

func TestMain(m *testing.M) {
	if code, ran := guard.Run(os.Args); ran {
		os.Exit(code)
	}
	if code, ran := fakeqemu.Play(os.Args); ran {
		os.Exit(code)
	}
	if code, ran := fakeQEMU(os.Args); ran {
		os.Exit(code)
	}
	if code, ran := victimMachine(os.Args); ran {
		os.Exit(code)
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // with the race detector, a guard would end a second late
	os.Exit(m.Run())
}

// victimWord is the first argument of a process that starts a real machine and waits to be killed.
const victimWord = "__victim"

// victimMachine plays that process. Its other arguments are the machine's directories and spec. It
// prints QEMU's pid.
func victimMachine(args []string) (code int, ran bool) {
	if len(args) < 5 || args[1] != victimWord {
		return 0, false
	}
	var s Spec
	if err := json.Unmarshal([]byte(args[4]), &s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	m, err := Start(context.Background(), s, Options{WorkDir: args[2], SocketDir: args[3]})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	fmt.Println(m.PID())
	<-m.Done()
	return 0, true
}

// gone fails the test if process pid still exists after 10 s.
func gone(t *testing.T, pid int) {
	t.Helper()
	eventually(t, fmt.Sprintf("process %d is gone", pid), func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, rest, _ := strings.Cut(string(stat), ") ")
		return errors.Is(err, fs.ErrNotExist) || strings.HasPrefix(rest, "Z") // its parent must reap a zombie
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Errorf("not within 10 s: %s", what)
}
