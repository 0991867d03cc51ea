package contract

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"vmtb/internal/prose"
)

// fairShares are the shares of VFs of an idle PF since 6.19. Smaller estimates take precedence.
var fairShares = []struct {
	vfs                       int
	ggtt, contexts, doorbells uint64
}{
	{1, 2147483648, 32768, 128},
	{2, 1073741824, 16384, 64},
	{3, 1073741824, 16384, 64},
	{4, 536870912, 8192, 32},
	{7, 536870912, 8192, 32},
	{12, 268435456, 4096, 16},
	{24, 134217728, 2048, 8},
}

var modeRules = []Rule{
	{
		ID:  "auto_release",
		Doc: "In automatic mode disabling VFs takes all quotas, time slices and thresholds from them.",
		Steps: []Step{
			write(numvfs, "1"), write(numvfs, "0"), read("0", "T/vf1/ggtt_quota"),
			read("0", "G/vf1/contexts_quota", "G/vf1/doorbells_quota"),
			read("", "T/pf/ggtt_provisioned", "G/pf/contexts_provisioned", "G/pf/doorbells_provisioned"),
		},
	},
	{
		ID: "auto_scheduling", Needs: []Need{admin}, Check: checkAutoScheduling,
		Doc: "Scheduling set through sysfs survives automatic provisioning. Disabling VFs ends their time slices. " +
			"If the driver gives fair time slices, it also ends all scheduling of the PF and the VFs' priorities; " +
			"otherwise it keeps those.",
	},
	{
		ID: "auto_slices", Needs: []Need{admin}, Check: checkAutoSlices,
		Doc: "The PF and VFs without scheduling of their own get 16 ms and 16000 us from the driver (newer than " +
			"Linux 7.0), or nothing.",
	},
	{
		ID: "auto_release_enabled_only", Doc: "VFs that were not enabled keep their time slices.",
		Needs: []Need{admin, vfs(2)},
		Steps: []Step{
			write("A/.bulk_profile/exec_quantum_ms", "20"), write(numvfs, "1"), write(numvfs, "0"),
			read("0", vf1Quantum), read("20", "A/vf2/profile/exec_quantum_ms"),
		},
	},
	{
		ID:    "custom_nothing",
		Doc:   "In custom mode VFs get nothing automatically, and enabling them succeeds nevertheless.",
		Needs: []Need{tree},
		Steps: []Step{
			write("G0/vf1/exec_quantum_ms", "0"), write(numvfs, "1"),
			read("0", "T/vf1/ggtt_quota", "G0/vf1/contexts_quota", "G0/vf1/doorbells_quota"),
			read("", "T/pf/ggtt_provisioned"),
		},
	},
	{
		ID: "custom_keeps", Doc: "In custom mode disabling VFs takes nothing from them.", Needs: []Need{tree},
		Steps: []Step{
			write("T/vf1/ggtt_quota", "1048576"), write("G/vf1/contexts_quota", "16"),
			write("G/vf1/exec_quantum_ms", "5"), write(numvfs, "1"), read("1048576", "T/vf1/ggtt_quota"),
			write(numvfs, "0"),
			read("1048576", "T/vf1/ggtt_quota"), read("16", "G/vf1/contexts_quota"), read("5", "G/vf1/exec_quantum_ms"),
			write(numvfs, "1"), read("16", "G/vf1/contexts_quota"),
		},
	},
	{
		ID:    "custom_during",
		Doc:   "A number written while VFs are enabled makes the mode custom, too: the VFs keep what they were given.",
		Needs: []Need{tree},
		Steps: []Step{
			write(numvfs, "1"), read("128", "G/vf1/doorbells_quota"), write("G0/vf1/threshold_guc_time_us", "1"),
			write(numvfs, "0"), read("128", "G/vf1/doorbells_quota"),
		},
	},
	{
		ID: "fair_spares", Doc: "Fair shares leave the PF its spares, and the contexts that it uses.",
		Needs: []Need{tree, noFloor}, Check: checkFairSpares,
	},
	{
		ID: "fair_nothing", Doc: "If nothing is left for a fair share, enabling VFs is ENOSPC, and the VFs have " +
			"nothing.",
		Needs: []Need{tree, noFloor},
		Steps: []Step{
			write("G/pf/doorbells_spare", "256"), write(restoreAuto, "1"), refuse(syscall.ENOSPC, numvfs, "1"),
			read("0", numvfs), read("0", "T/vf1/ggtt_quota"), read("0", "G/vf1/contexts_quota"),
			write("G/pf/doorbells_spare", "0"), write(restoreAuto, "1"), write(numvfs, "1"),
		},
	},
	{
		ID:    "flat_release",
		Doc:   "Without modes, disabling VFs always takes all resources from them, also those set by hand.",
		Needs: []Need{flat},
		Steps: []Step{
			write("T/vf1/ggtt_quota", "1048576"), write("G/vf1/contexts_quota", "16"),
			write("G/vf1/exec_quantum_ms", "5"), write(numvfs, "1"), read("16", "G/vf1/contexts_quota"),
			write(numvfs, "0"),
			read("0", "T/vf1/ggtt_quota", "G0/vf1/contexts_quota", "G0/vf1/exec_quantum_ms"),
		},
	},
	{
		ID: "flat_by_hand",
		Doc: "Without modes, the driver leaves a GT alone on which a VF has anything, and gives fair shares on " +
			"other GTs.",
		Needs: []Need{flat, twoGTs},
		Steps: []Step{
			write("G0/vf1/contexts_quota", "16"), write(numvfs, "1"), read("16", "G0/vf1/contexts_quota"),
			read("0", "T/vf1/ggtt_quota", "G0/vf1/doorbells_quota"), read("256", "G1/vf1/doorbells_quota"),
		},
		Check: func(_ context.Context, p *Probe) error {
			n, err := p.uint("G1/vf1/contexts_quota")
			if most := uint64(maxContexts - minContexts); err != nil || n > most || n < most-mostOwnContexts {
				return differs(
					err, "G1/vf1/contexts_quota reads %d, want %d, or at most %d less", n, most, mostOwnContexts,
				)
			}
			return nil
		},
	},
}

func provisioningRules() []Rule {
	rules := slices.Clone(modeRules)
	for _, f := range fairShares {
		rules = append(rules, Rule{
			ID: fmt.Sprintf("fair_%d", f.vfs), Needs: []Need{tree, workingPF, vfs(f.vfs)},
			Doc: fmt.Sprintf("%s on an idle PF: GGTT %d, contexts %d, doorbells %d each, equal VRAM; "+
				"VF1 has the highest GGTT and contexts and the lowest doorbells.", prose.Count(f.vfs, "VF"), f.ggtt,
				f.contexts, f.doorbells),
			Check: func(ctx context.Context, p *Probe) error {
				estimate := p.ggttBeside(p.ggttSpare) / uint64(f.vfs) / pageSize * pageSize
				contexts := map[string]uint64{}
				for _, gt := range p.each("G/") {
					contexts[gt] = f.contexts
				}
				return checkFair(ctx, p, f.vfs, min(f.ggtt, estimate), f.doorbells, contexts)
			},
		})
	}
	for _, n := range []int{1, 2, 7} {
		rules = append(rules, Rule{
			ID: fmt.Sprintf("flat_fair_%d", n), Needs: []Need{flat, noFloor, vfs(n)},
			Doc: prose.Count(n, "VF") + " up to 6.18: equal shares of everything except the spare.",
			Check: func(ctx context.Context, p *Probe) error {
				n, contexts := uint64(n), map[string]uint64{}
				for _, gt := range p.each("G/") {
					own, err := p.ownContexts(ctx, gt)
					if err == nil {
						err = p.all(ctx, write(gt+"vf1/contexts_quota", "0"))
					}
					if err != nil {
						return err
					}
					contexts[gt] = (maxContexts - minContexts - own) / n
				}
				ggtt := p.ggttBeside(p.ggttSpare) / n / pageSize * pageSize
				return checkFair(ctx, p, int(n), ggtt, maxDoorbells/n, contexts)
			},
		})
	}
	return rules
}

func checkFairSpares(ctx context.Context, p *Probe) error {
	own := map[string]uint64{}
	for _, gt := range p.each("G/") {
		n, err := p.ownContexts(ctx, gt)
		if err != nil {
			return err
		}
		own[gt] = n
	}
	const contextsSpare, ggttSpare = 60000, 3221225472
	err := p.all(ctx,
		write("G/vf1/contexts_quota", "0"), write("G/pf/contexts_spare", strconv.Itoa(contextsSpare)),
		write("G/pf/doorbells_spare", "200"),
		write("T/pf/ggtt_spare", strconv.Itoa(ggttSpare)), write(restoreAuto, "1"), write(numvfs, "1"),
		read("56", "G/vf1/doorbells_quota"),
		read(strconv.FormatUint(p.ggttBeside(ggttSpare)/pageSize*pageSize, 10), "T/vf1/ggtt_quota"),
	)
	for gt, n := range own {
		err = errors.Join(
			err, p.all(ctx, read(strconv.FormatUint(maxContexts-contextsSpare-n, 10), gt+"vf1/contexts_quota")),
		)
	}
	return err
}

// These are the fair time slices, XE_FAIR_EXEC_QUANTUM_MS and XE_FAIR_PREEMPT_TIMEOUT_US.
const fairQuantum, fairTimeout = "16", "16000"

// fairSlices reports whether the driver gives VFs time slices by itself. It looks at VF1, which
// must be enabled.
func (p *Probe) fairSlices() (bool, error) {
	text, err := p.Read(vf1Quantum)
	return text != "0\n", err
}

func checkAutoSlices(ctx context.Context, p *Probe) error {
	if err := p.all(ctx, write(numvfs, "1")); err != nil {
		return err
	}
	fair, err := p.fairSlices()
	if err != nil {
		return err
	}
	quantum, timeout := "0", "0"
	if fair {
		quantum, timeout = fairQuantum, fairTimeout
	}
	return p.all(ctx,
		read(quantum, vf1Quantum, "A/pf/profile/exec_quantum_ms"),
		read(timeout, "A/vf1/profile/preempt_timeout_us", "A/pf/profile/preempt_timeout_us"),
		write(vf1Quantum, "0"), read("0", vf1Quantum), // a later request takes precedence
		write(numvfs, "0"), read("0", vf1Quantum, "A/pf/profile/exec_quantum_ms"),
		read("0", "A/pf/profile/preempt_timeout_us"),
	)
}

func checkAutoScheduling(ctx context.Context, p *Probe) error {
	if err := p.all(ctx, write(numvfs, "1")); err != nil {
		return err
	}
	fair, err := p.fairSlices()
	if err != nil {
		return err
	}
	quantum, priority, ifIdle := "20", "low [normal]", "1"
	if fair {
		quantum, priority, ifIdle = "0", "[low] normal", "0"
	}
	return p.all(ctx,
		write(numvfs, "0"),
		write("A/.bulk_profile/exec_quantum_ms", "20"), write("A/.bulk_profile/preempt_timeout_us", "40000"),
		write("A/.bulk_profile/sched_priority", "normal"), write(numvfs, "1"),
		read("20", "A/pf/profile/exec_quantum_ms", vf1Quantum), read("40000", "A/vf1/profile/preempt_timeout_us"),
		write(numvfs, "0"), read("0", vf1Quantum, "A/vf1/profile/preempt_timeout_us"),
		read(quantum, "A/pf/profile/exec_quantum_ms"), read(priority, "A/vf1/profile/sched_priority"),
		read(ifIdle, "G/pf/sched_if_idle"), read("0", "T/vf1/ggtt_quota"),
	)
}

// checkFair enables n VFs and compares the resources of each with these shares. contexts has those of
// each GT.
func checkFair(
	ctx context.Context, p *Probe, n int, ggtt, doorbells uint64, contexts map[string]uint64,
) error {
	if err := p.Refuses(ctx, 0, numvfs, strconv.Itoa(n)); err != nil {
		return err
	}
	sizes := make([]uint64, n)
	for i := range sizes {
		sizes[i] = ggtt
		if err := p.Reads(fmt.Sprintf("T/vf%d/ggtt_quota", i+1), fmt.Sprintln(ggtt)); err != nil {
			return err
		}
	}
	if err := p.readsGGTT(func(shift uint64) (string, error) { return p.ggttTable(shift, sizes...) }); err != nil {
		return err
	}
	for gt, share := range contexts {
		var ids, bells strings.Builder
		for i := range uint64(n) {
			top, first := maxContexts-i*share, i*doorbells
			fmt.Fprintf(&ids, "VF%d:\t%d-%d\t(%d)\n", i+1, top-share, top-1, share)
			fmt.Fprintf(&bells, "VF%d:\t%d-%d\t(%d)\n", i+1, first, first+doorbells-1, doorbells)
		}
		if err := errors.Join(
			p.Reads(gt+"pf/contexts_provisioned", ids.String()), p.Reads(gt+"pf/doorbells_provisioned", bells.String()),
		); err != nil {
			return err
		}
	}
	if p.vram {
		return checkFairVRAM(ctx, p, n)
	}
	return nil
}

// checkFairVRAM compares the shares of n enabled VFs with the share of a single VF. The kernel does
// not report how much memory is free. 7.1 also limits shares to a power of two.
func checkFairVRAM(ctx context.Context, p *Probe, n int) error {
	share, err := p.uint("T/vf1/vram_quota")
	if err != nil {
		return err
	}
	var table strings.Builder
	for i := range n {
		fmt.Fprintf(&table, "VF%d:\t%d\t(%s)\n", i+1, share, sizeText(share))
	}
	if err := p.Reads("T/pf/vram_provisioned", table.String()); err != nil {
		return err
	}
	if vramQuota.check(p) {
		if share == 0 || share%vramAlign != 0 {
			return fmt.Errorf("each VF has %d bytes of VRAM: want a multiple of 2 MiB", share)
		}
		return nil
	}
	for _, s := range []Step{write(numvfs, "0"), write(numvfs, "1")} {
		if err := s.run(ctx, p); err != nil {
			return err
		}
	}
	one, err := p.uint("T/vf1/vram_quota")
	if err != nil {
		return err
	}
	if want := one / uint64(n) / vramAlign * vramAlign; share == 0 || share != want {
		return fmt.Errorf("of %d VFs each has %d bytes of VRAM, and one alone %d: want %d", n, share, one, want)
	}
	return nil
}
