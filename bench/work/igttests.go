package work

import (
	"fmt"
	"slices"

	"vmtb/bench"
)

// A TestType is a kind of GPU work that IGT tests. Its name is the Python tool's and does not
// depend on the driver.
type TestType string

// These are the types.
const (
	ExecBasic TestType = "EXEC_BASIC"
	ExecStore TestType = "EXEC_STORE"
	SpinBatch TestType = "SPIN_BATCH"

	ExecResetLongSpinManyPreempt                 TestType = "EXEC_RESET_LONG_SPIN_MANY_PREEMPT"
	ExecResetLongSpinManyPreemptMedia            TestType = "EXEC_RESET_LONG_SPIN_MANY_PREEMPT_MEDIA"
	ExecResetLongSpinManyPreemptThreads          TestType = "EXEC_RESET_LONG_SPIN_MANY_PREEMPT_THREADS"
	ExecResetLongSpinManyPreemptGT0Threads       TestType = "EXEC_RESET_LONG_SPIN_MANY_PREEMPT_GT0_THREADS"
	ExecResetLongSpinManyPreemptGT1Threads       TestType = "EXEC_RESET_LONG_SPIN_MANY_PREEMPT_GT1_THREADS"
	ExecResetLongSpinReuseManyPreempt            TestType = "EXEC_RESET_LONG_SPIN_REUSE_MANY_PREEMPT"
	ExecResetLongSpinReuseManyPreemptMedia       TestType = "EXEC_RESET_LONG_SPIN_REUSE_MANY_PREEMPT_MEDIA"
	ExecResetLongSpinReuseManyPreemptThreads     TestType = "EXEC_RESET_LONG_SPIN_REUSE_MANY_PREEMPT_THREADS"
	ExecResetLongSpinReuseManyPreemptGT0Threads  TestType = "EXEC_RESET_LONG_SPIN_REUSE_MANY_PREEMPT_GT0_THREADS"
	ExecResetLongSpinReuseManyPreemptGT1Threads  TestType = "EXEC_RESET_LONG_SPIN_REUSE_MANY_PREEMPT_GT1_THREADS"
	ExecResetLongSpinSysReuseManyPreemptThreads  TestType = "EXEC_RESET_LONG_SPIN_SYS_REUSE_MANY_PREEMPT_THREADS"
	ExecResetLongSpinCompReuseManyPreemptThreads TestType = "EXEC_RESET_LONG_SPIN_COMP_REUSE_MANY_PREEMPT_THREADS"
	ExecResetCancel                              TestType = "EXEC_RESET_CANCEL"
	ExecResetCancelPreempt                       TestType = "EXEC_RESET_CANCEL_PREEMPT"
	ExecResetCancelTimeslicePreempt              TestType = "EXEC_RESET_CANCEL_TIMESLICE_PREEMPT"
	ExecResetCancelTimesliceManyPreempt          TestType = "EXEC_RESET_CANCEL_TIMESLICE_MANY_PREEMPT"

	ExecThreadsBasic                     TestType = "EXEC_THREADS_BASIC"
	ExecThreadsBalBasic                  TestType = "EXEC_THREADS_BAL_BASIC"
	ExecThreadsCMUserptrInvalidate       TestType = "EXEC_THREADS_CM_USERPTR_INVALIDATE"
	ExecThreadsManyQueues                TestType = "EXEC_THREADS_MANY_QUEUES"
	ExecThreadsBalMixedUserptrInvalidate TestType = "EXEC_THREADS_BAL_MIXED_USERPTR_INVALIDATE"

	CCSBlockCopyCompressed TestType = "CCS_BLOCK_COPY_COMPRESSED"
	ComputePreemptMany     TestType = "COMPUTE_PREEMPT_MANY"
)

// NeedsOfGPU returns which GPU feature the test needs that an emulated GPU lacks, or "" if none.
func (t TestType) NeedsOfGPU() string {
	switch t {
	case CCSBlockCopyCompressed:
		return "compression"
	case ComputePreemptMany:
		return "shaders"
	}
	return ""
}

// String returns the type's name as used in the ids of flows.
func (t TestType) String() string { return "IgtType." + string(t) }

// testNames has the tests for xe, and i915Tests the few tests for i915.
var (
	testNames = map[TestType]string{
		ExecBasic: "igt@xe_exec_basic@once-basic",
		ExecStore: "igt@xe_exec_store@basic-store",
		SpinBatch: "igt@xe_spin_batch@spin-basic",

		ExecResetLongSpinManyPreempt:                 "igt@xe_exec_reset@long-spin-many-preempt",
		ExecResetLongSpinManyPreemptMedia:            "igt@xe_exec_reset@long-spin-many-preempt-media",
		ExecResetLongSpinManyPreemptThreads:          "igt@xe_exec_reset@long-spin-many-preempt-threads",
		ExecResetLongSpinManyPreemptGT0Threads:       "igt@xe_exec_reset@long-spin-many-preempt-gt0-threads",
		ExecResetLongSpinManyPreemptGT1Threads:       "igt@xe_exec_reset@long-spin-many-preempt-gt1-threads",
		ExecResetLongSpinReuseManyPreempt:            "igt@xe_exec_reset@long-spin-reuse-many-preempt",
		ExecResetLongSpinReuseManyPreemptMedia:       "igt@xe_exec_reset@long-spin-reuse-many-preempt-media",
		ExecResetLongSpinReuseManyPreemptThreads:     "igt@xe_exec_reset@long-spin-reuse-many-preempt-threads",
		ExecResetLongSpinReuseManyPreemptGT0Threads:  "igt@xe_exec_reset@long-spin-reuse-many-preempt-gt0-threads",
		ExecResetLongSpinReuseManyPreemptGT1Threads:  "igt@xe_exec_reset@long-spin-reuse-many-preempt-gt1-threads",
		ExecResetLongSpinSysReuseManyPreemptThreads:  "igt@xe_exec_reset@long-spin-sys-reuse-many-preempt-threads",
		ExecResetLongSpinCompReuseManyPreemptThreads: "igt@xe_exec_reset@long-spin-comp-reuse-many-preempt-threads",
		ExecResetCancel:                     "igt@xe_exec_reset@cancel",
		ExecResetCancelPreempt:              "igt@xe_exec_reset@cancel-preempt",
		ExecResetCancelTimeslicePreempt:     "igt@xe_exec_reset@cancel-timeslice-preempt",
		ExecResetCancelTimesliceManyPreempt: "igt@xe_exec_reset@cancel-timeslice-many-preempt",

		ExecThreadsBasic:                     "igt@xe_exec_threads@threads-basic",
		ExecThreadsBalBasic:                  "igt@xe_exec_threads@threads-bal-basic",
		ExecThreadsCMUserptrInvalidate:       "igt@xe_exec_threads@threads-cm-userptr-invalidate",
		ExecThreadsManyQueues:                "igt@xe_exec_threads@threads-many-queues",
		ExecThreadsBalMixedUserptrInvalidate: "igt@xe_exec_threads@threads-bal-mixed-userptr-invalidate",

		CCSBlockCopyCompressed: "igt@xe_ccs@block-copy-compressed",
		ComputePreemptMany:     "igt@xe_compute_preempt@compute-preempt-many",
	}
	i915Tests = map[TestType]string{
		ExecBasic: "igt@gem_exec_basic@basic",
		ExecStore: "igt@gem_exec_store@dword",
		SpinBatch: "igt@gem_spin_batch@legacy",
	}
)

// Test returns the test of a type for a driver, "xe" or "i915". If the driver has no such test, the
// error matches [bench.ErrNotAvailable].
func (t TestType) Test(driver string) (string, error) {
	names, ok := map[string]map[TestType]string{"xe": testNames, "i915": i915Tests}[driver]
	if _, known := testNames[t]; !known || !ok {
		return "", &bench.UsageError{Err: fmt.Errorf("no IGT test type %q, or driver %q", string(t), driver)}
	}
	name, ok := names[t]
	if !ok {
		return "", fmt.Errorf("IGT test for %v on %s: %w", t, driver, bench.ErrNotAvailable)
	}
	return name, nil
}

// TestTypes returns all types, sorted.
func TestTypes() []TestType {
	types := make([]TestType, 0, len(testNames))
	for t := range testNames {
		types = append(types, t)
	}
	slices.Sort(types)
	return types
}
