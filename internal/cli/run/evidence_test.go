package run

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vmtb/bench/vm"
	"vmtb/bench/vm/guard"
	"vmtb/flow"
	"vmtb/internal/fake/fakeqemu"
)

func TestMain(m *testing.M) {
	if code, ran := guard.Run(os.Args); ran {
		os.Exit(code)
	}
	if code, ran := fakeqemu.Bare(os.Args); ran {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// If a case misses its deadline, evidence of its machine is collected while the machine still runs.
// The error names the directory.
func TestEvidenceOfDeadline(t *testing.T) {
	var machines vm.Roster
	sockets, err := os.MkdirTemp("", "vm") // short: it contains sockets
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(sockets)
	boot := func(ctx context.Context, env *flow.Env, _ flow.NoParam) (*vm.VM, error) {
		s := vm.Spec{Name: "vm0", QEMU: "/proc/self/exe", Accel: "kvm", Kernel: &vm.Kernel{Image: "/dev/null"}}
		m, err := vm.Start(
			ctx, s, vm.Options{Dir: filepath.Join(env.Dir, "vm0"), SocketDir: sockets, Roster: &machines},
		)
		if err == nil {
			env.Cleanup(m.Close)
		}
		return m, err
	}
	r := flow.NewRegistry()
	flow.Add(r, "file", flow.Class[flow.NoParam, *vm.VM]{
		Name: "Class", Params: []flow.NoParam{{}}, Fixture: flow.Fixture[flow.NoParam, *vm.VM]{SetUp: boot},
		Cases: []flow.Case[*vm.VM]{
			{Name: "ends", Func: func(context.Context, *flow.T, *vm.VM) {}},
			{
				Name: "hangs", Timeout: 100 * time.Millisecond,
				Func: func(ctx context.Context, _ *flow.T, _ *vm.VM) { <-ctx.Done() },
			},
		},
	})
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	summary, err := flow.Run(t.Context(), r.Items(), flow.Options{Dir: dir, Evidence: evidenceOf(&machines)})
	if err != nil || summary.Counts[flow.Timeout] != 1 || summary.Counts[flow.Pass] != 1 {
		t.Fatalf("%+v, %v", summary, err)
	}
	said, err := filepath.Glob(filepath.Join(dir, "*", "*", "evidence.txt"))
	if err != nil || len(said) != 1 || filepath.Base(filepath.Dir(said[0])) != "hangs" {
		t.Fatalf("evidence.txt: %q, %v, want one in the folder of the case that hung", said, err)
	}
	text, err := os.ReadFile(said[0])
	if err != nil {
		t.Fatal(err)
	}
	folder, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "vm0: ")
	if !ok || !strings.HasPrefix(folder, dir) || filepath.Base(folder) != "evidence-1" {
		t.Errorf("evidence.txt: %q", text)
	}
	for name, want := range map[string]string{
		"summary.txt": "file::Class::hangs: deadline missed", "threads.txt": "thread ", "registers.txt": "RIP=0\n",
	} {
		if data, err := os.ReadFile(filepath.Join(folder, name)); err != nil || !strings.Contains(string(data), want) {
			t.Errorf("%s: %v, want %q in %q", name, err, want, data)
		}
	}
	if left := machines.Alive(); len(left) > 0 {
		t.Errorf("alive: %v", left)
	}
}
