package guard

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// spawnShell starts a shell script in place of QEMU.
func spawnShell(t *testing.T, script string, dirs ...string) (*Process, string) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p, err := Start(t.Context(), []string{"/proc/self/exe"}, dirs, []string{"/bin/sh", "-c", script}, out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.WithoutCancel(t.Context())); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("close: %v", err)
		}
	})
	return p, out.Name()
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

// parentOf returns the parent of a process.
func parentOf(t *testing.T, pid int) int {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	ppid, err := strconv.Atoi(strings.Fields(rest)[1])
	if err != nil {
		t.Fatal(err)
	}
	return ppid
}

func TestGuardReportsTheEnd(t *testing.T) {
	for script, want := range map[string]Exit{
		"exit 0":              {},
		"exit 7":              {Code: 7},
		"kill -9 $$; sleep 9": {Signal: 9},
	} {
		p, _ := spawnShell(t, script)
		if !p.Gone(10 * time.Second) {
			t.Fatalf("%s: still there", script)
		}
		if diff := cmp.Diff(want, p.exit); diff != "" {
			t.Errorf("%s: -want +got\n%s", script, diff)
		}
	}
}

func TestGuardGivesNothingOfItsOwnToQEMU(t *testing.T) {
	p, out := spawnShell(t, `echo "env=$`+environment+`"; ls /proc/$$/fd; cut -d' ' -f5,6 /proc/$$/stat; echo $$ $PPID`)
	p.Gone(10 * time.Second)
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(string(data))
	// QEMU has descriptors 0, 1 and 2 only, and its own process group. The guard is its parent and
	// shares its session.
	pid, parent := strconv.Itoa(p.pid), got[len(got)-1]
	if diff := cmp.Diff([]string{"env=", "0", "1", "2", pid, parent, pid, parent}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestGuardStartFails(t *testing.T) {
	p, err := Start(t.Context(), []string{"/proc/self/exe"}, nil, []string{"/nonexistent/qemu"}, nil)
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/qemu") {
		t.Errorf("Start = %v, %v", p, err)
	}
}

func TestStartOfNoGuard(t *testing.T) {
	_, err := Start(t.Context(), []string{"/bin/true"}, nil, []string{"qemu"}, nil)
	if err == nil || !strings.Contains(err.Error(), "guard.Run") {
		t.Errorf("err = %v, want one that names guard.Run", err)
	}
	t.Setenv(environment, "1")
	_, err = Start(t.Context(), []string{"/proc/self/exe"}, nil, []string{"qemu"}, nil)
	if err == nil || !strings.Contains(err.Error(), "BUG") {
		t.Errorf("in a guard: err = %v, want a refusal", err)
	}
}

func TestStartCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("no time")
	time.AfterFunc(50*time.Millisecond, func() { cancel(why) })
	_, err := Start(ctx, []string{"/bin/sh", "-c", "sleep 60", "sh"}, nil, []string{"qemu"}, nil)
	if !errors.Is(err, why) {
		t.Errorf("err = %v, want %v", err, why)
	}
}

func TestCloseKillsTheGroup(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "private")
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	p, out := spawnShell(t, "sleep 300 & echo $!; wait", dir)
	child := waitForPID(t, out)
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone(t, p.pid)
	gone(t, child)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("private directory: %v, want it removed", err)
	}
}

func TestWhatQEMUStartedGoesWithIt(t *testing.T) {
	p, out := spawnShell(t, "sleep 300 & echo $!")
	p.Gone(10 * time.Second)
	gone(t, waitForPID(t, out))
}

// waitForPID waits for the number that a script writes first, and returns it.
func waitForPID(t *testing.T, file string) (pid int) {
	t.Helper()
	eventually(t, "a pid in the output", func() bool {
		data, _ := os.ReadFile(file)
		line, _, ok := strings.Cut(string(data), "\n")
		if !ok {
			return false
		}
		var err error
		pid, err = strconv.Atoi(line)
		return err == nil
	})
	return pid
}

func TestKilledGuard(t *testing.T) {
	p, _ := spawnShell(t, "while :; do sleep 1; done")
	if err := unix.Kill(parentOf(t, p.pid), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !p.Gone(10 * time.Second) {
		t.Fatal("still there after its guard was killed")
	}
	if want := (Exit{Lost: true}); p.exit != want {
		t.Errorf("exit = %+v, want %+v", p.exit, want)
	}
	gone(t, p.pid)
}

// victimWord is the first argument of a victim: a process that starts a program in place of QEMU
// and is then killed.
const victimWord = "__victim"

// A victimReport is printed by a victim.
type victimReport struct{ QEMU, Guard int }

func victim(args []string) (code int, ran bool) {
	if len(args) < 4 || args[1] != victimWord {
		return 0, false
	}
	mode, dir := args[2], args[3]
	p, err := Start(
		context.Background(), []string{"/proc/self/exe"}, []string{dir},
		[]string{"/bin/sh", "-c", "while :; do sleep 1; done"}, nil,
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	guard, _ := strconv.Atoi(strings.Fields(rest)[1])
	json.NewEncoder(os.Stdout).Encode(victimReport{p.pid, guard})
	if mode == "exit" {
		return 0, true
	}
	if mode == "panic" {
		panic("on purpose")
	}
	select {} // until it is killed
}

func TestVmtbEndsBadly(t *testing.T) {
	for _, mode := range []string{"exit", "panic", "kill", "interrupt", "kill both"} {
		t.Run(mode, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "private")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("/proc/self/exe", victimWord, mode, dir)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadBytes('\n')
			if err != nil {
				t.Fatal(err)
			}
			var r victimReport
			if err := json.Unmarshal(line, &r); err != nil {
				t.Fatal(err)
			}
			switch mode {
			case "kill":
				cmd.Process.Kill()
			case "interrupt":
				unix.Kill(-cmd.Process.Pid, unix.SIGINT) // like Ctrl-C: the whole foreground process group
			case "kill both":
				unix.Kill(r.Guard, unix.SIGKILL)
				cmd.Process.Kill()
			}
			cmd.Wait()
			gone(t, r.QEMU)
			gone(t, r.Guard)
			if mode != "kill both" {
				eventually(t, "the private directory is removed", func() bool {
					_, err := os.Stat(dir)
					return errors.Is(err, fs.ErrNotExist)
				})
			}
		})
	}
}

func TestGuardArguments(t *testing.T) {
	args := arguments([]string{"vmtb"}, []string{"/a", "/b"}, []string{"qemu", "--", "-x"})
	dirs, argv, ok := splitArguments(args[2:])
	if diff := cmp.Diff([][]string{{"/a", "/b"}, {"qemu", "--", "-x"}}, [][]string{dirs, argv}); diff != "" || !ok {
		t.Errorf("ok = %v, -want +got\n%s", ok, diff)
	}
	for _, args := range [][]string{nil, {"vmtb"}, {"vmtb", "run"}} {
		if _, ran := Run(args); ran {
			t.Errorf("Run(%q) ran", args)
		}
	}
	for _, args := range [][]string{{"vmtb", firstWord}, {"vmtb", firstWord, "/a"}, {"vmtb", firstWord, "/a", "--"}} {
		if code, ran := Run(args); !ran || code != 2 {
			t.Errorf("Run(%q) = %d, %v, want 2, true", args, code, ran)
		}
	}
}
