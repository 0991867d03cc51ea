package work_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/work"
)

func this() bench.Machine { return host.New(host.OS{}) }

// A shelled is this host with another shell as /bin/sh and with other programs.
type shelled struct {
	bench.Machine
	shell, path string
}

func (s shelled) Exec(ctx context.Context, c bench.Command) (bench.Result, error) {
	c.Argv = slices.Clone(c.Argv)
	for i, a := range c.Argv {
		if a == "/bin/sh" {
			c.Argv[i] = s.shell
		}
	}
	if s.path != "" {
		c.Env = append(slices.Clone(c.Env), "PATH="+s.path)
	}
	return s.Machine.Exec(ctx, c)
}

// machines returns this host with several shells, with and without setsid.
func machines(t *testing.T) map[string]bench.Machine {
	t.Helper()
	all := map[string]bench.Machine{}
	few := t.TempDir() // without setsid and busybox
	for _, tool := range []string{"grep", "mkdir", "rm", "sleep", "cat", "head"} {
		link(t, tool, filepath.Join(few, tool))
	}
	for _, sh := range []string{"dash", "bash"} {
		path, err := exec.LookPath(sh)
		if err != nil {
			t.Logf("NOT TESTED: %v", err)
			continue
		}
		all[sh] = shelled{this(), path, ""}
		all[sh+" without setsid"] = shelled{this(), path, few}
	}
	if bb := busybox(t); bb != "" {
		all["busybox"] = shelled{this(), bb + "/sh", bb}
		only := t.TempDir() // setsid only as an applet of busybox, without a link
		if err := os.Symlink(bb+"/busybox", only+"/busybox"); err != nil {
			t.Fatal(err)
		}
		all["busybox setsid"] = shelled{this(), bb + "/sh", few + ":" + only}
	}
	if len(all) == 0 {
		t.Fatal("no shell to test with")
	}
	return all
}

func link(t *testing.T, tool, as string) {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err == nil {
		err = os.Symlink(path, as)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// busybox returns a directory with busybox's programs, from the busybox of this host or of the
// lab's cache. It returns "" if there is none.
func busybox(t *testing.T) string {
	t.Helper()
	cache, _ := os.UserCacheDir()
	found, _ := filepath.Glob(cache + "/vmtb/lab/root-*/tree/usr/bin/busybox")
	if path, err := exec.LookPath("busybox"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		t.Log("NOT TESTED: no busybox on this host")
		return ""
	}
	dir := t.TempDir()
	if out, err := exec.Command(found[0], "--install", "-s", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// start starts a workload in a new directory, and ends and removes it at the end of the test.
func start(t *testing.T, m bench.Machine, w work.Workload) *work.Run {
	t.Helper()
	run, err := work.Start(t.Context(), m, w, work.Options{Base: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := run.Remove(context.Background()); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(run.Handle().Dir); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", run.Handle().Dir, err)
		}
	})
	return run
}

func wait(t *testing.T, run *work.Run) work.Result {
	t.Helper()
	r, err := run.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}
