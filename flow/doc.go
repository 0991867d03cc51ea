// Package flow runs VMM Flows: it registers them, selects them by id, gives them fixtures and
// deadlines, and keeps the truth about a run on disk. It knows no VM, GPU or sysfs.
//
// A flow's author starts with [Class]: cases that share a [Fixture], run once for each parameter.
// [Add] puts a class into a [Registry]; a program's main makes the registry and hands it on, so
// that private flows are equal citizens.
//
//	func Register(r *flow.Registry) {
//		flow.Add(r, "test_basic", flow.Class[Config, *Setup]{
//			Name:    "TestVmSetup",
//			Doc:     "Enable VFs, boot VMs, probe the VF driver, shut down.",
//			Params:  []Config{{VFs: 1}, {VFs: 2}},
//			Fixture: setUpVMs,
//			Cases:   []flow.Case[*Setup]{{Name: "test_vm_boot", Func: testVMBoot}},
//		})
//	}
//
// [Registry.Items] lists without running anything, [Registry.Select] takes a user's patterns, [Run]
// runs.
//
// # Order and fixtures
//
// The plan is file, class, parameter, then cases. Cases of one class and parameter share one
// fixture:
//
//	        SetUp ok              a case ran
//	cold ------------> ready <----------------> used
//	 ^ |                         Reset ok        |
//	 | | SetUp failed                            | Reset failed, deadline missed, panic
//	 | v                                         v
//	 | failed         TearDown, restore       broken
//	 +-------------------------------------------+
//
// Failed is final: the remaining cases are errors with the fixture's reason. TearDown is followed
// by the functions given to [Env.Cleanup], newest first, and by the replay of what is left of the
// undo journal ("restore").
//
// # Deadlines, panics, interrupts
//
// Every case and every phase of a fixture has a deadline, multiplied by [Options.TimeoutScale]. On
// expiry its context is cancelled. Code that does not come back in a grace period is abandoned: the
// stacks of all goroutines are written down, and [Env.Do] refuses it from then on. A panic fails
// the case it happens in; TearDown runs all the same.
//
// Cancelling Run's context is the first interrupt: the running case is cancelled, the fixture torn
// down, the rest reported as not run. [Options.Kill] is the second: nothing graceful any more, only
// the undo journal is replayed. The third, leaving at once, is the caller's; the undo journal is
// still there for another process.
//
// # Results
//
// See [Result] for the words, [Summary.ExitCode] for the exit codes, and docs/run-directory.md for
// the files.
package flow
