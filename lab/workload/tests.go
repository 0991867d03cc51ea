package main

import "time"

// A program is one of IGT's test programs, with those of its subtests that VMM Flows run.
type program struct {
	name     string
	subtests []subtest
}

// A subtest, and how much GPU time it takes. On hardware that depends on the GPU and on nothing that flows could ask
// for; these are about the times that they were written for: a flow that saves a machine at work wants work of 8 s and
// more, and runs shorter tests again and again.
type subtest struct {
	name string
	work time.Duration
	gt   int // it needs GT 0 to gt
}

const (
	short = 50 * time.Millisecond
	loop  = 400 * time.Millisecond // "less than 0.5 s, looped"
	long  = 12 * time.Second
)

var programs = []program{
	{"xe_exec_basic", []subtest{{name: "once-basic", work: short}}},
	{"xe_exec_store", []subtest{{name: "basic-store", work: short}}},
	{"xe_spin_batch", []subtest{{name: "spin-basic", work: loop}}},
	{"xe_exec_reset", []subtest{
		{name: "cancel", work: 6 * time.Second},
		{name: "cancel-preempt", work: long},
		{name: "cancel-timeslice-preempt", work: long},
		{name: "cancel-timeslice-many-preempt", work: 22 * time.Second},
		{name: "long-spin-many-preempt", work: long},
		{name: "long-spin-many-preempt-media", work: long, gt: 1},
		{name: "long-spin-reuse-many-preempt", work: long},
		{name: "long-spin-reuse-many-preempt-media", work: long, gt: 1},
		{name: "long-spin-many-preempt-threads", work: long},
		{name: "long-spin-many-preempt-gt0-threads", work: long},
		{name: "long-spin-many-preempt-gt1-threads", work: 6500 * time.Millisecond, gt: 1},
		{name: "long-spin-reuse-many-preempt-threads", work: long},
		{name: "long-spin-sys-reuse-many-preempt-threads", work: long},
		{name: "long-spin-comp-reuse-many-preempt-threads", work: long},
		{name: "long-spin-reuse-many-preempt-gt0-threads", work: long},
		{name: "long-spin-reuse-many-preempt-gt1-threads", work: long, gt: 1},
	}},
	{"xe_exec_threads", []subtest{
		{name: "threads-basic", work: loop},
		{name: "threads-many-queues", work: long},
		{name: "threads-bal-basic", work: loop},
		{name: "threads-cm-userptr-invalidate", work: loop},
		{name: "threads-bal-mixed-userptr-invalidate", work: loop},
	}},
	{"xe_ccs", []subtest{{name: "block-copy-compressed", work: loop}}},
	{"xe_compute_preempt", []subtest{{name: "compute-preempt-many", work: 2 * time.Second}}},
}

func findProgram(name string) (program, bool) {
	for _, p := range programs {
		if p.name == name {
			return p, true
		}
	}
	return program{}, false
}
