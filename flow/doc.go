// Package flow runs VMM Flows. It registers flows, selects them by id, gives them fixtures and
// deadlines, and records the run on disk. It does not know about VMs, GPUs or sysfs.
//
// The author of a flow starts with [Class]: cases that share a [Fixture] and run once for each
// parameter. [Add] puts a class into a [Registry]. The main function of a program creates the
// registry and passes it on, so a program can add private flows in the same way.
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
// [Registry.Items] lists the cases, [Registry.Select] selects cases by patterns, and [Run] runs
// them.
//
// # Order and fixtures
//
// The plan is sorted by file, class, parameter and case. Cases of one class and parameter share one
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
// Failed is final: the remaining cases get the result error with the fixture's reason. After
// TearDown the engine runs the functions of [Env.Cleanup], the newest first. Then it replays the
// rest of the undo journal ("restore").
//
// # Deadlines, panics, interrupts
//
// Every case and every phase of a fixture has a deadline, multiplied by [Options.TimeoutScale]. At
// the deadline its context is cancelled. Code that does not return within the grace period is
// abandoned: the engine saves the stacks of all goroutines, and [Env.Do] refuses the code from then
// on. A panic fails its case; TearDown still runs.
//
// There are three interrupts. The first cancels the context of Run: the running case is cancelled,
// the fixture is torn down, and the remaining cases get the result notrun. The second closes
// [Options.Kill]: there is no graceful tear-down, and the engine only replays the undo journal. At
// the third the caller exits at once; another process can still replay the undo journal.
//
// # Results
//
// [Result] lists the results, [Summary.ExitCode] returns the exit code, and docs/run-directory.md
// describes the files.
package flow
