package vmtb_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"vmtb/bench/undo"
	"vmtb/flow"
)

// A toy is the parameter of flows that need neither root nor a GPU, for scripts: each does what files in the working
// directory tell it.
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

// setUpToy makes the file changed-PARAMETER, which is a change of the host.
func setUpToy(ctx context.Context, env *flow.Env, p toy) (toy, error) {
	path, err := filepath.Abs("changed-" + string(p))
	if err != nil {
		return p, err
	}
	return p, env.Do(ctx, undo.Path{Path: path}, func() error { return os.WriteFile(path, nil, 0o600) })
}

// play fails the case if the file NAME.fail exists; NAME.fail-once fails it, too, and is gone then. With NAME.die the
// whole process is killed, as by the kernel when memory is short.
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
