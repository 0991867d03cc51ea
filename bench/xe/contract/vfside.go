package contract

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// xe drives VF1 on the host here. The driver does not know where it runs, and the test can read its
// files.
var vf1OnHost = []Step{write(numvfs, "1"), write(override, "xe"), write(bindXe, "{VF1}")}

// onHost returns steps with VF1 driven on the host.
func onHost(steps ...Step) []Step { return append(slices.Clone(vf1OnHost), steps...) }

const (
	stoppers1  = "D1/gt*/vf/resfix_stoppers"
	resetVF1   = "V1/reset"
	otherCount = "16" // a number of contexts that automatic provisioning never gives to one VF
)

// refusedVF are the kernel messages when the driver refuses a VF.
var refusedVF = []string{
	`^xe [0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]: (probe with driver xe failed with error -[0-9]+|` +
		`\[drm\] \*ERROR\* (Tile[0-9]+: )?GT[0-9]+: (GuC init failed with|Failed to early initialize uC) )`,
}

var vfRules = []Rule{
	{
		ID: "vf_nodes", Doc: "A VF has a card, GTs and debugfs files of its own, and none of a PF's files.",
		Steps: onHost(
			present("V1/drm", "V1/tile0/gt*"), absent("V1/tile0/gt2"), read("xe dev={VF1} unique={VF1}", "D1/name"),
			read("supported: yes\nenabled: yes\nmode: SR-IOV VF", "D1/sriov_info"),
			mode(0o444, "D1/gt*/vf/self_config", "D1/gt*/vf/abi_versions"),
			absent("D1/sriov", "D1/pf", "D1/gt0/pf", "D1/gt0/vf1", "V1/sriov_admin"),
		),
	},
	{
		ID: "self_config",
		Doc: "self_config has the resources that the PF has given to the VF, for each GT: the GGTT only on the main " +
			"GT since 6.19, local memory only on the main GT.",
		Steps: vf1OnHost, Check: checkSelfConfig,
	},
	{
		ID: "self_config_reload",
		Doc: "A VF's driver learns the VF's resources only once. It sees another quota after it was unloaded and " +
			"loaded again.",
		Steps: onHost(write("G/vf1/contexts_quota", otherCount)),
		Check: func(ctx context.Context, p *Probe) error {
			if err := p.checkContexts("before"); err != nil {
				return err
			}
			return errors.Join(
				p.all(ctx, write(unbindXe, "{VF1}"), absent("D1/gt0"), write(bindXe, "{VF1}")), checkSelfConfig(ctx, p),
			)
		},
	},
	{
		ID:    "self_config_flr",
		Doc:   "After a reset of the VF its driver does not read the resources again: xe has no reset handlers.",
		Steps: onHost(write("G/vf1/contexts_quota", otherCount)),
		Check: func(ctx context.Context, p *Probe) error {
			return errors.Join(
				p.checkContexts("before"), p.Refuses(ctx, 0, resetVF1, "1"), p.checkContexts("after a reset"),
			)
		},
	},
	{
		ID: "abi_versions",
		Doc: "abi_versions has the versions of the interfaces to GuC and to the PF: the oldest known, the wanted and " +
			"the agreed one. The PF's version is 1.0.", Steps: vf1OnHost, Check: checkABIVersions,
	},
	{
		ID: "vf_handshake", Doc: "The PF's file versions lists a VF from the load of the VF's driver until the reset " +
			"of the VF.",
		Check: checkHandshake,
	},
	{
		ID: "vf_empty", Logs: refusedVF,
		Doc:   "A VF without resources is refused by its driver: by bind with an error, by drivers_probe silently.",
		Needs: []Need{tree},
		Steps: []Step{write("G0/vf1/exec_quantum_ms", "0"), write(numvfs, "1"), write(override, "xe")},
		Check: checkRefusesVF,
	},
	{
		ID: "vf_incomplete", Logs: refusedVF,
		Doc:   "A VF that lacks one resource is refused by its driver; a VF with all of them is accepted.",
		Steps: []Step{write("G0/vf1/contexts_quota", otherCount), write(numvfs, "1"), write(override, "xe")},
		Check: func(ctx context.Context, p *Probe) error {
			return errors.Join(
				checkRefusesVF(ctx, p), p.giveSmall(ctx, 1), p.all(ctx, write(bindXe, "{VF1}"), present("V1/driver")),
				checkSelfConfig(ctx, p),
			)
		},
	},
	{
		ID:    "stoppers_text",
		Doc:   "resfix_stoppers is a byte for each GT, in hexadecimal; of a larger number the lowest byte counts.",
		Needs: []Need{tree},
		Check: func(ctx context.Context, p *Probe) error {
			if err := p.withStoppers(ctx); err != nil {
				return err
			}
			return p.all(ctx,
				mode(0o600, stoppers1), read("0x00", stoppers1), become(stoppers1, "0x05", "5", "0x5\n", "05", "0x105"),
				become("D1/gt0/vf/resfix_stoppers", "0xff", "255"),
				refuse(syscall.EINVAL, stoppers1, "x", "-1", " 1", "1.5"), become(stoppers1, "0x00", "0"),
			)
		},
	},
	{
		ID: "recovery", Doc: "After a restore the VF's driver moves to the VF's new GGTT range when the VF is resumed.",
		Needs: []Need{canSave, vfs(2)},
		Check: func(ctx context.Context, p *Probe) error {
			m, err := p.newMove(ctx)
			if err != nil {
				return err
			}
			return errors.Join(m.restore(ctx), m.arrives(ctx))
		},
	},
	{
		ID: "recovery_stages",
		Doc: "resfix_stoppers holds the recovery, on any GT: 0x1 before its start, 0x2 before the fixups, 0x4 before " +
			"jobs continue, 0x8 before its end. The driver clears no bit.",
		Needs: []Need{canSave, vfs(2)}, Check: checkRecoveryStages,
	},
}

// all carries out steps for a Check function.
func (p *Probe) all(ctx context.Context, steps ...Step) error {
	for _, s := range steps {
		if err := s.run(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// selfConfig returns the expected self_config of VF1's driver on a GT, computed from the PF's
// files.
func (p *Probe) selfConfig(gt int) (string, error) {
	var b strings.Builder
	if gt == 0 || p.flat {
		r, err := p.ggttOf(1)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(
			&b, "GGTT range:\t%#x-%#x\nGGTT size:\t%d (%s)\n", r.start, r.start+r.size-1, r.size, sizeText(r.size),
		)
		if p.flat { // the first range counts as a shift from 0
			fmt.Fprintf(&b, "GGTT shift on last restore:\t%d\n", r.start)
		}
	}
	for _, line := range []struct {
		label, file string
		shown       bool
		size        bool
	}{
		{"LMEM size", "T/vf1/vram_quota", p.vram && gt == 0, true},
		{"GuC contexts", fmt.Sprintf("G%d/vf1/contexts_quota", gt), true, false},
		{"GuC doorbells", fmt.Sprintf("G%d/vf1/doorbells_quota", gt), true, false},
	} {
		if !line.shown {
			continue
		}
		n, err := p.uint(line.file)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s:\t%d", line.label, n)
		if line.size {
			fmt.Fprintf(&b, " (%s)", sizeText(n))
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}

// ggttOf returns the GGTT range of a VF. The VF must have one.
func (p *Probe) ggttOf(vf int) (span, error) {
	text, err := p.Read("T/pf/ggtt_provisioned")
	for l := range strings.Lines(text) {
		var n int
		var from, last uint64
		if _, scan := fmt.Sscanf(l, "VF%d:\t%v-%v\t", &n, &from, &last); scan == nil && n == vf {
			return span{from, last + 1 - from}, nil
		}
	}
	return span{}, differs(err, "ggtt_provisioned has no VF%d: %q", vf, text)
}

func checkSelfConfig(_ context.Context, p *Probe) error {
	for _, gt := range p.gts {
		want, err := p.selfConfig(gt)
		if err != nil {
			return err
		}
		if err := p.Reads(fmt.Sprintf("D1/gt%d/vf/self_config", gt), want); err != nil {
			return err
		}
	}
	return nil
}

// checkContexts returns nil if the driver of VF1 does not know the new quota yet.
func (p *Probe) checkContexts(when string) error {
	text, err := p.Read("D1/gt0/vf/self_config")
	if err != nil || strings.Contains(text, "contexts:\t"+otherCount+"\n") || !strings.Contains(text, "contexts:\t") {
		return differs(err, "%s the VF knows its new quota, self_config is %q", when, text)
	}
	return nil
}

var abiVersions = regexp.MustCompile(`\AGuC ABI:
	base:	\d+\.\d+\.\d+\.\*
	wanted:	\d+\.\d+\.\d+\.\*
	handshake:	\d+\.\d+\.\d+\.\d+
PF ABI:
	base:	1\.0
	wanted:	1\.0
	handshake:	1\.0
\z`)

func checkABIVersions(_ context.Context, p *Probe) error {
	for _, file := range p.each("D1/gt*/vf/abi_versions") {
		if text, err := p.Read(file); err != nil || !abiVersions.MatchString(text) {
			return differs(err, "%s reads %q, want %v", file, text, abiVersions)
		}
	}
	return nil
}

func checkHandshake(ctx context.Context, p *Probe) error {
	file := "D/sriov/pf/versions"
	if p.flat {
		file = "D/pf/versions"
	}
	const nobody = "base:\t1.0\nlatest:\t1.0\n"
	is := func(want string) error { return p.await(ctx, func() error { return p.Reads(file, want) }) }
	if err := errors.Join(
		p.all(ctx, write(numvfs, "1")), is(nobody), p.all(ctx, write(override, "xe"), write(bindXe, "{VF1}")),
	); err != nil {
		return err
	}
	if err := errors.Join(
		is(nobody+"VF1:\t1.0\n"), p.all(ctx, write(unbindXe, "{VF1}")), is(nobody+"VF1:\t1.0\n"),
		p.all(ctx, write(resetVF1, "1")),
	); err != nil {
		return err
	}
	return errors.Join(is(nobody), p.all(ctx, write(bindXe, "{VF1}")), is(nobody+"VF1:\t1.0\n"))
}

// checkRefusesVF returns nil if xe refuses VF1, which has the override.
func checkRefusesVF(ctx context.Context, p *Probe) error {
	if err := p.write(ctx, bindXe, "{VF1}"); err == nil {
		return errors.New("xe binds VF1, although VF1 lacks a resource")
	}
	return p.all(ctx, absent("V1/driver"), write(probeDriver, "{VF1}"), absent("V1/driver", "D1/gt0"))
}

// withStoppers has VF1 driven on the host. Some kernels lack resfix_stoppers, which shows only
// then.
func (p *Probe) withStoppers(ctx context.Context) error {
	if err := p.all(ctx, vf1OnHost...); err != nil {
		return err
	}
	return p.needStoppers()
}

func (p *Probe) needStoppers() error {
	if !p.exists("D1/gt0/vf/resfix_stoppers") {
		return &MissingError{"resfix_stoppers (7.0 and later, with CONFIG_DRM_XE_DEBUG)"}
	}
	return nil
}
