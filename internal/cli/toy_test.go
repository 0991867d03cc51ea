package cli_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"vmtb/bench/undo"
	"vmtb/bench/vm"
	"vmtb/flow"
)

// A toy is the parameter of flows for scripts. They need neither root nor a GPU; files in the
// working directory control them.
type toy string

func (p toy) String() string { return string(p) }

func registerToys(r *flow.Registry) {
	flow.Add(r, "test_toy", flow.Class[toy, toy]{
		Name: "TestToy", Params: []toy{"a", "b"}, Unprivileged: true,
		Fixture: flow.Fixture[toy, toy]{SetUp: setUpToy},
		Cases: []flow.Case[toy]{
			{Name: "test_one", Func: func(ctx context.Context, t *flow.T, p toy) { play(ctx, t, "one-"+string(p)) }},
			{Name: "test_two", Func: func(ctx context.Context, t *flow.T, p toy) { play(ctx, t, "two-"+string(p)) }},
		},
	})
}

// setUpToy makes the file changed-PARAMETER. It stands for a change of the host.
func setUpToy(ctx context.Context, env *flow.Env, p toy) (toy, error) {
	path, err := filepath.Abs("changed-" + string(p))
	if err != nil {
		return p, err
	}
	return p, env.Do(ctx, undo.Path{Path: path}, func() error { return os.WriteFile(path, nil, 0o600) })
}

// play fails the case if the file NAME.fail exists. NAME.fail-once does so, too, and is then
// removed. NAME.die makes play kill the whole process, as the OOM killer would.
func play(_ context.Context, t *flow.T, name string) {
	switch {
	case exists(name + ".die"):
		me, err := os.FindProcess(os.Getpid())
		t.Fatal(errors.Join(err, me.Kill()))
	case exists(name + ".fail-once"):
		t.Error(errors.Join(errors.New("failed this once"), os.Remove(name+".fail-once")))
	case exists(name + ".fail"):
		t.Error("failed")
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// registerMachines adds flows with a machine whose QEMU is the test binary: see fakeqemu.Bare.
func registerMachines(r *flow.Registry) {
	flow.Add(r, "test_machine", flow.Class[toy, toy]{
		Name: "TestMachine", Params: []toy{"a", "b"}, Unprivileged: true,
		Fixture: flow.Fixture[toy, toy]{SetUp: setUpMachine},
		Cases: []flow.Case[toy]{
			{Name: "test_one", Func: func(ctx context.Context, t *flow.T, p toy) { play(ctx, t, "one-"+string(p)) }},
		},
	})
}

func setUpMachine(ctx context.Context, env *flow.Env, p toy) (toy, error) {
	if _, err := setUpToy(ctx, env, p); err != nil {
		return p, err
	}
	roster, err := flow.Resource[*vm.Roster](env)
	if err != nil {
		return p, err
	}
	sockets, err := os.MkdirTemp("", "vm") // short: it contains sockets
	if err != nil {
		return p, err
	}
	env.Cleanup(func(context.Context) error { return os.RemoveAll(sockets) })
	s := vm.Spec{
		Name: "vm0", QEMU: "/proc/self/exe", Accel: "kvm", MemoryMiB: 64, Kernel: &vm.Kernel{Image: "/dev/null"},
		Disks: []vm.Disk{},
	}
	m, err := vm.Start(ctx, s, vm.Options{
		Dir: filepath.Join(env.Dir, "vm0"), SocketDir: sockets, Roster: roster,
		Journal: func(r undo.Record) error {
			return env.Do(context.WithoutCancel(ctx), r, func() error { return nil })
		},
	})
	if err == nil {
		env.Cleanup(m.Close)
	}
	return p, err
}
