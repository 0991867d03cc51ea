package contract

import (
	"context"
	"errors"
	"slices"
	"syscall"
)

// aNumber stands for all numeric attributes of debugfs, which share a parser.
const aNumber = "G/vf1/exec_quantum_ms"

var policies = []Rule{
	{
		ID: "number_parse",
		Doc: "A number is unsigned. Blanks, a minus sign, fractions and other text are EINVAL; a number of more than " +
			"64 bits is ERANGE.",
		Steps: []Step{
			refuse(
				syscall.EINVAL, aNumber, "x", "-1", "-0", "1 ", " 1", "1.5", "1\n\n", "++1", "+", "0x", "0xg", "08",
				"0b1", "0o7", "1_0", "\n",
			),
			refuse(syscall.ERANGE, aNumber, "18446744073709551616", "0x10000000000000000"), read("0", aNumber),
		},
	},
	{
		ID: "number_base", Doc: "Numbers are decimal, octal (0) or hexadecimal (0x); a plus sign and one final " +
			"newline are accepted.",
		Steps: []Step{
			become(aNumber, "8", "010"), become(aNumber, "16", "0x10", "0X10\n"), become(aNumber, "5", "+5"),
			become(aNumber, "7", "7\n"), become(aNumber, "11", "0xb"), become(aNumber, "0", "0"),
		},
	},
	{
		ID: "number_length", Doc: "Only the first 23 bytes of a write count.",
		Steps: []Step{
			become(aNumber, "1", "0000000000000000000000123"),
			refuse(syscall.EINVAL, aNumber, "0000000000000000000000x"),
		},
	},
	{
		ID: "gts_apart", Doc: "Each GT has its own numbers.", Needs: []Need{twoGTs},
		Steps: []Step{
			write("G0/vf1/exec_quantum_ms", "10"), read("0", "G1/vf1/exec_quantum_ms"),
			write("G1/pf/preempt_timeout_us", "20"), read("0", "G0/pf/preempt_timeout_us"),
			write("G1/vf1/contexts_quota", "30"), read("0", "G0/vf1/contexts_quota"), write("G1/pf/reset_engine", "1"),
			read("0", "G0/pf/reset_engine"),
		},
	},
	{
		ID: "vfs_apart", Doc: "Each VF has its own numbers.", Needs: []Need{vfs(2)},
		Steps: []Step{
			write("G/vf2/exec_quantum_ms", "10"), write("G/vf2/threshold_irq_time_us", "11"),
			read("0", "G/vf1/exec_quantum_ms", "G/pf/exec_quantum_ms", "G/vf1/threshold_irq_time_us"),
		},
	},
	{
		ID: "thresholds", Doc: "Thresholds are any 32-bit numbers.",
		Steps: append(
			perFile(thresholdFiles("G/vf1/"), "4294967295", "1000", "0"),
			perFile(thresholdFiles("G/pf/"), "4294967295", "0")...,
		),
	},
	{
		ID: "reset_engine", Doc: "reset_engine is 0 or 1.",
		Steps: []Step{
			become("G/pf/reset_engine", "1", "1", "0x1"),
			refuse(syscall.EOVERFLOW, "G/pf/reset_engine", "2", "4294967296"), read("1", "G/pf/reset_engine"),
			become("G/pf/reset_engine", "0", "0"),
		},
	},
	{
		ID:  "sched_if_idle",
		Doc: "sched_if_idle is 0 or 1. It gives the PF and all VFs of that GT priority normal (1) or low (0).",
		Steps: []Step{
			refuse(syscall.EOVERFLOW, "G/pf/sched_if_idle", "2"), become("G0/pf/sched_if_idle", "1", "1"),
			read("1", under("G0/", "pf/sched_priority", "vf1/sched_priority", "vf{TOTAL}/sched_priority")...),
			become("G0/pf/sched_if_idle", "0", "0"),
			read("0", under("G0/", "pf/sched_priority", "vf1/sched_priority", "vf{TOTAL}/sched_priority")...),
		},
	},
	{
		ID: "sched_if_idle_gt", Doc: "sched_if_idle works on its own GT only.", Needs: []Need{twoGTs},
		Steps: []Step{
			write("G1/pf/sched_if_idle", "1"),
			read("0", under("G0/", "pf/sched_if_idle", "pf/sched_priority", "vf1/sched_priority")...),
			read("1", "G1/vf1/sched_priority"),
		},
	},
	{
		ID: "sample_period", Doc: "sample_period_ms is a 32-bit number.",
		Steps: []Step{
			become("G/pf/sample_period_ms", "4294967295", "4294967295"),
			refuse(syscall.EOVERFLOW, "G/pf/sample_period_ms", "4294967296"), become("G/pf/sample_period_ms", "0", "0"),
		},
	},
	{
		ID: "pf_priority", Doc: "The PF's priority is 0, 1 or 2.",
		Steps: []Step{
			become("G/pf/sched_priority", "1", "1"), become("G/pf/sched_priority", "2", "2"),
			become("G/pf/sched_priority", "0", "0"), refuse(syscall.EOVERFLOW, "G/pf/sched_priority", "4294967296"),
			read("0", "G/vf1/sched_priority"),
		},
	},
	{
		ID: "priority_refused",
		Doc: "The firmware refuses other priorities (EIO) or does not have them (ENOKEY). It refuses the change of " +
			"one VF's priority in the same way.",
		Check: checkPriorityRefused,
	},
}

func numberRules() []Rule {
	rules := slices.Clone(policies)
	for _, q := range []struct{ id, file, most string }{
		{"exec_quantum", "exec_quantum_ms", "100000"}, {"preempt_timeout", "preempt_timeout_us", "100000000"},
	} {
		for _, fn := range []string{"vf1", "pf"} {
			f := "G/" + fn + "/" + q.file
			rules = append(rules, Rule{
				ID: q.id + "_" + fn, Doc: "A 32-bit number; a larger number becomes " + q.most + ".",
				Steps: []Step{
					become(f, "1", "1"), become(f, q.most, q.most, q.most+"0", "4294967295"),
					refuse(syscall.EOVERFLOW, f, "4294967296", "18446744073709551615"), read(q.most, f),
					become(f, "0", "0"),
				},
			})
		}
	}
	return rules
}

// perFile writes each value to each file and reads it back. A value of more than 32 bits is
// refused.
func perFile(files []string, values ...string) []Step {
	var steps []Step
	for _, f := range files {
		for _, v := range values {
			steps = append(steps, become(f, v, v))
		}
		steps = append(steps, refuse(syscall.EOVERFLOW, f, "4294967296"))
	}
	return steps
}

func checkPriorityRefused(ctx context.Context, p *Probe) error {
	for _, c := range []struct{ file, value string }{{"G/pf/sched_priority", "3"}, {"G/vf1/sched_priority", "1"}} {
		for _, file := range p.each(c.file) {
			if err := p.write(ctx, file, c.value); !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.ENOKEY) {
				return differs(err, "%s <- %s: want EIO or ENOKEY", file, c.value)
			}
			if err := p.Reads(file, "0\n"); err != nil {
				return err
			}
		}
	}
	return nil
}
