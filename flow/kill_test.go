package flow

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// A run that was killed with SIGKILL leaves a directory with everything up to the kill, and the
// directory shows that the run is dead.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("FLOW_TEST_KILLED"); dir != "" {
		runUntilKilled(t, dir)
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), "FLOW_TEST_KILLED="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Errorf("the run did not get to its case: %v", err)
	}
	if run, err := OpenRun(dir); err != nil || !run.Alive || run.Info.PID != cmd.Process.Pid {
		t.Errorf("before: %+v, error %v", run, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	run, err := OpenRun(dir)
	if err != nil || run.Alive {
		t.Fatalf("after: %+v, error %v", run, err)
	}
	last := run.Entries[len(run.Entries)-1]
	if last.Event != Begin || last.ID.Case != "one" {
		t.Errorf("the last entry is %+v, want the beginning of the case", last)
	}
}

func runUntilKilled(t *testing.T, dir string) {
	s := &script{do: do{"one": func(context.Context, *Env, *T) error { fmt.Println("running"); select {} }}}
	_, err := Run(t.Context(), s.registry("a").Items(), Options{Dir: dir})
	t.Fatal("it ended:", err)
}
