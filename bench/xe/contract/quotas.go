package contract

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
)

const takesAll = "takes resources that programs on the host may need"

// These are the files of quotas and spares.
const (
	ggtt, vram           = "T/vf1/ggtt_quota", "T/vf1/vram_quota"
	contexts, doorbells  = "G/vf1/contexts_quota", "G/vf1/doorbells_quota"
	ggttSpare, vramSpare = "T/pf/ggtt_spare", "T/pf/vram_spare"
	cSpare, dSpare       = "G/pf/contexts_spare", "G/pf/doorbells_spare"
)

var quotaRules = []Rule{
	{
		ID: "ggtt_rounding", Doc: "A GGTT quota is rounded up to 4 KiB; 0 releases it.", Needs: []Need{smallPages},
		Steps: []Step{
			become(ggtt, "4096", "1", "4095", "4096"), become(ggtt, "8192", "4097"),
			become(ggtt, "1073741824", "0x40000000"), become(ggtt, "0", "0"), read("", "T/pf/ggtt_provisioned"),
		},
	},
	{
		ID: "ggtt_too_much",
		Doc: "A quota that fits into no free range is ENOSPC, and the VF then has nothing: the driver releases the " +
			"old quota first.",
		Steps: []Step{write(ggtt, "1048576"), refuse(syscall.ENOSPC, ggtt, "4294967296"), read("0", ggtt)},
	},
	{
		ID: "ggtt_place",
		Doc: "GGTT is allocated at the top of the highest free range that is large enough; changing one quota moves " +
			"no other.",
		Needs: []Need{vfs(2)}, Check: checkGGTTPlace,
	},
	{
		ID: "ggtt_all", Doc: "ggtt_spare does not limit quotas: a quota can take the whole largest free range.",
		Destructive: takesAll,
		Check: func(ctx context.Context, p *Probe) error {
			want := strconv.FormatUint(largest(p.ggttFree), 10)
			return become(ggtt, want, want).run(ctx, p)
		},
	},
	{
		ID: "vram_rounding", Doc: "A VRAM quota is rounded up to 2 MiB.", Needs: []Need{discrete},
		Steps: []Step{
			become(vram, "2097152", "1", "2097152"), become(vram, "4194304", "2097153"),
			become(vram, "1073741824", "1073741824"), become(vram, "0", "0"), read("", "T/pf/vram_provisioned"),
		},
	},
	{
		ID: "vram_too_much", Doc: "More VRAM than the GPU has is E2BIG, and the VF then has nothing.",
		Needs: []Need{discrete}, Destructive: takesAll,
		Steps: []Step{write(vram, "2097152"), refuse(syscall.E2BIG, vram, "1099511627776"), read("0", vram)},
	},
	{
		ID:  "contexts_range",
		Doc: "More than 65535 contexts are EINVAL, more than 32 bits EOVERFLOW; both leave the quota unchanged.",
		Steps: []Step{
			become(contexts, "16", "16"), refuse(syscall.EINVAL, contexts, "65536", "4294967295"),
			refuse(syscall.EOVERFLOW, contexts, "4294967296"), read("16", contexts), become(contexts, "0", "0"),
		},
	},
	{
		ID: "contexts_spare_kept", Needs: []Need{noFloor}, Check: checkContextsSpare,
		Doc: "A quota that would leave the PF fewer free contexts than its spare is EDQUOT, and the VF then has " +
			"nothing.",
		Steps: []Step{write(contexts, "16"), refuse(syscall.EDQUOT, contexts, "65280"), read("0", contexts)},
	},
	{
		ID: "contexts_all", Doc: "VFs can get all contexts except the spare ones and those that the PF uses.",
		Needs: []Need{noFloor}, Destructive: takesAll,
		Check: func(ctx context.Context, p *Probe) error {
			_, err := p.ownContexts(ctx, "G0/")
			return err
		},
	},
	{
		ID: "contexts_gap", Doc: "A VF's contexts are contiguous: if no free range is large enough, the error is " +
			"ENOSPC.",
		Needs: []Need{vfs(2)}, Destructive: takesAll,
		Steps: []Step{
			write(contexts, "32000"), write("G/vf2/contexts_quota", "32000"), refuse(syscall.ENOSPC, contexts, "33000"),
			read("0", contexts), read("32000", "G/vf2/contexts_quota"),
		},
	},
	{
		ID: "contexts_place", Doc: "The VF gets the highest free context ids.", Needs: []Need{vfs(2)},
		Steps: []Step{
			write(contexts, "1024"), write("G/vf2/contexts_quota", "1024"),
			read("VF1:\t64511-65534\t(1024)\nVF2:\t63487-64510\t(1024)", "G/pf/contexts_provisioned"),
			write(contexts, "1025"),
			read("VF1:\t62462-63486\t(1025)\nVF2:\t63487-64510\t(1024)", "G/pf/contexts_provisioned"),
			write(contexts, "1"),
			read("VF1:\t65534-65534\t(1)\nVF2:\t63487-64510\t(1024)", "G/pf/contexts_provisioned"),
		},
	},
	{
		ID:  "doorbells_range",
		Doc: "More than 256 doorbells are EINVAL, more than 32 bits EOVERFLOW; both leave the quota unchanged.",
		Steps: []Step{
			become(doorbells, "16", "16"), refuse(syscall.EINVAL, doorbells, "257", "4294967295"),
			refuse(syscall.EOVERFLOW, doorbells, "4294967296"), read("16", doorbells), become(doorbells, "0", "0"),
		},
	},
	{
		ID: "doorbells_all", Doc: "If the spare is 0, VFs can get all doorbells.", Destructive: takesAll,
		Steps: []Step{become(doorbells, "256", "256")},
	},
	{
		ID:  "doorbells_spare_kept",
		Doc: "A quota that would take the PF's spare doorbells is EDQUOT, and the VF then has nothing.",
		Steps: []Step{
			write(dSpare, "16"), write(doorbells, "16"), refuse(syscall.EDQUOT, doorbells, "241"), read("0", doorbells),
			write(dSpare, "200"), become(doorbells, "56", "56"), refuse(syscall.EDQUOT, doorbells, "57"),
		},
	},
	{
		ID: "doorbells_place", Doc: "The VF gets the lowest free doorbells. They are contiguous: if no free range is " +
			"large enough, the error is ENOSPC.",
		Needs: []Need{vfs(2)}, Destructive: takesAll,
		Steps: []Step{
			write(doorbells, "100"), write("G/vf2/doorbells_quota", "100"),
			read("VF1:\t0-99\t(100)\nVF2:\t100-199\t(100)", "G/pf/doorbells_provisioned"),
			refuse(syscall.ENOSPC, doorbells, "150"), read("VF2:\t100-199\t(100)", "G/pf/doorbells_provisioned"),
			write(doorbells, "56"),
			read("VF1:\t0-55\t(56)\nVF2:\t100-199\t(100)", "G/pf/doorbells_provisioned"),
		},
	},
	{
		ID: "ggtt_spare", Doc: "ggtt_spare is 64 MiB or more, rounded up to 4 KiB; 0 is the minimum.",
		Needs: []Need{noFloor, smallPages},
		Steps: []Step{
			become(ggttSpare, "67112960", "67108865"), refuse(syscall.EINVAL, ggttSpare, "1", "4096", "67108863"),
			read("67112960", ggttSpare),
			become(ggttSpare, "67108864", "67108864"), become(ggttSpare, "1073741824", "1073741824"),
			become(ggttSpare, "67108864", "0"),
		},
	},
	{
		ID: "vram_spare", Doc: "vram_spare is 128 MiB or more and not rounded; 0 is the minimum.",
		Needs: []Need{discrete, noFloor},
		Steps: []Step{
			become(vramSpare, "134217729", "134217729"), refuse(syscall.EINVAL, vramSpare, "1", "134217727"),
			read("134217729", vramSpare), become(vramSpare, "134217728", "0"),
		},
	},
	{
		ID: "contexts_spare", Doc: "contexts_spare is 256 to 65535; 0 is the minimum.", Needs: []Need{noFloor},
		Steps: []Step{
			become(cSpare, "300", "300"), become(cSpare, "65535", "65535"),
			refuse(syscall.EINVAL, cSpare, "1", "255", "65536"), refuse(syscall.EOVERFLOW, cSpare, "4294967296"),
			read("65535", cSpare), become(cSpare, "256", "256", "0"),
		},
	},
	{
		ID: "doorbells_spare", Doc: "doorbells_spare is 0 to 256.", Needs: []Need{noFloor},
		Steps: []Step{
			become(dSpare, "1", "1"), become(dSpare, "256", "256"), refuse(syscall.EINVAL, dSpare, "257"),
			refuse(syscall.EOVERFLOW, dSpare, "4294967296"), read("256", dSpare), become(dSpare, "0", "0"),
		},
	},
	{
		ID: "quota_with_vfs", Doc: "Quotas can change while VFs are enabled.",
		Steps: []Step{
			write(numvfs, "1"), become(ggtt, "1048576", "1048576"), become(contexts, "100", "100"),
			become(doorbells, "10", "10"), become(ggtt, "0", "0"),
		},
	},
}

func checkGGTTPlace(ctx context.Context, p *Probe) error {
	if err := p.all(ctx, write("T/vf1/ggtt_quota", "1048576"), write("T/vf2/ggtt_quota", "2097152")); err != nil {
		return err
	}
	if err := p.readsGGTT(func(shift uint64) (string, error) { return p.ggttTable(shift, 1<<20, 2<<20) }); err != nil {
		return err
	}
	// VF1 gives up the top. What does not fit there goes below VF2.
	if err := p.Refuses(ctx, 0, "T/vf1/ggtt_quota", "3145728"); err != nil {
		return err
	}
	return p.readsGGTT(func(shift uint64) (string, error) {
		three, err := p.ggttTable(shift, 1<<20, 2<<20, 3<<20)
		if err != nil {
			return "", err
		}
		lines := splitLines(three)
		return "VF1" + lines[2][len("VF3"):] + lines[1], nil
	})
}

// mostOwnContexts is more than the driver of an idle PF uses on a GT: one for its migrate queue, a
// few for others.
const mostOwnContexts = 64

// ownContexts returns how many contexts the PF uses itself on a GT, such as "G0/". The GT's spare
// must be the smallest. No file has the number, so it is computed from the largest accepted quota.
// VF1 has that quota afterwards.
func (p *Probe) ownContexts(ctx context.Context, gt string) (uint64, error) {
	quota := gt + "vf1/contexts_quota"
	for own := range uint64(mostOwnContexts + 1) {
		text := strconv.FormatUint(maxContexts-minContexts-own, 10)
		err := p.write(ctx, quota, text)
		if err == nil {
			return own, p.Reads(quota, text+"\n")
		}
		if !errors.Is(err, syscall.EDQUOT) {
			return 0, differs(err, "%s <- %s: want success or EDQUOT", quota, text)
		}
	}
	return 0, fmt.Errorf("%s: %d contexts fewer than all without the spare are still EDQUOT", quota, mostOwnContexts)
}

// checkContextsSpare checks, on each GT, that a larger spare leaves that many contexts less.
func checkContextsSpare(ctx context.Context, p *Probe) error {
	for _, file := range p.each("G/") {
		own, err := p.ownContexts(ctx, file)
		if err != nil {
			return err
		}
		const spare = 65000
		quota, most := file+"vf1/contexts_quota", maxContexts-spare-own
		err = p.all(ctx,
			write(quota, "0"), write(file+"pf/contexts_spare", strconv.Itoa(spare)),
			refuse(syscall.EDQUOT, quota, strconv.FormatUint(most+1, 10)), read("0", quota),
			become(quota, strconv.FormatUint(most, 10), strconv.FormatUint(most, 10)),
		)
		if err != nil {
			return err
		}
	}
	return nil
}
