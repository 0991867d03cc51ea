package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"vmtb"
	"vmtb/bench/vm/guard"
	"vmtb/internal/fake/fakeqemu"
	"vmtb/internal/procfs"
	"vmtb/vmm_flows"
)

func TestMain(m *testing.M) {
	if code, ran := guard.Run(os.Args); ran {
		os.Exit(code)
	}
	if code, ran := fakeqemu.Bare(os.Args); ran {
		os.Exit(code)
	}
	testscript.Main(m, map[string]func(){
		"vmtb":     func() { os.Exit(vmtb.Main(context.Background(), os.Args, vmm_flows.Register)) },
		"machines": func() { os.Exit(vmtb.Main(context.Background(), os.Args, registerMachines)) },
		"toys":     func() { os.Exit(vmtb.Main(context.Background(), os.Args, registerToys)) },
	})
}

// The scripts check the command line as a user sees it: both outputs, and the exit code.
func TestScripts(t *testing.T) { testscript.Run(t, params("testdata/script")) }

func params(dir string) testscript.Params {
	return testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("VMTB_STATE_DIR", filepath.Join(env.WorkDir, "state"))
			env.Setenv("GORACE", "atexit_sleep_ms=0") // with the race detector, a program would end a second late
			env.Defer(func() { endKept(env) })
			ids, err := filepath.Abs("../../vmm_flows/testdata/upstream-ids.txt")
			env.Setenv("UPSTREAM_IDS", ids)
			return err
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Geteuid() == 0, nil
			case "machineid":
				return procfs.MachineID() != "", nil
			}
			return false, fmt.Errorf("no condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
		},
	}
}

// endKept ends the machines, and the runs kept for them, that a failed script leaves. It kills only
// keepers that answer: the pid of a dead one may belong to another process now.
func endKept(env *testscript.Env) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "machines", "vm", "list", "--json")
	cmd.Dir, cmd.Env = env.WorkDir, env.Vars
	out, err := cmd.Output()
	if err != nil {
		env.T().Log("machines that the script left alive: ", err)
		return
	}
	var left []struct {
		Name, State string
		Keeper      int `json:"keeper_pid"`
	}
	if err := json.Unmarshal(out, &left); err != nil {
		env.T().Log("machines that the script left alive: ", err)
	}
	for _, m := range left {
		if m.State != "dead" && m.State != "unknown" && m.Keeper > 1 {
			_ = syscall.Kill(m.Keeper, syscall.SIGKILL) // it may have ended just now
		}
	}
}

// exits runs "exits CODE PROGRAM ARGUMENTS...": the program must end with exactly this code, or
// "signal: killed".
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code program [argument...]")
	}
	got := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("%v ended with %s, want %s", args[1:], got, args[0])
	}
}
