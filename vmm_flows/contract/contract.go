package contract

import (
	"context"
	"errors"
	"time"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/xe"
	rules "vmtb/bench/xe/contract"
	"vmtb/flow"
)

// refusals are kernel messages that the driver may log when a rule makes it refuse a request: lines
// of its PF part, and requests that the firmware refuses (xe_sriov_printk.h, xe_guc_ct.c,
// xe_guc.c). A reset or a wedged device is never a refusal.
var refusals = []string{
	`^xe [0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]: (\[drm\] )?(\*ERROR\* )?(Tile[0-9]+: )?(GT[0-9]+: )?` +
		`(PF: |H2G request |GuC mmio request )`,
	`^xe-vfio-pci [0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]: `,
}

// Register adds the flow xe_contract.
func Register(r *flow.Registry) {
	for _, s := range rules.Sections() {
		c := flow.Class[flow.NoParam, *setup]{
			Name: s.Name, Own: true, Doc: "The contract of xe, " + s.Title + ".",
			Params: []flow.NoParam{{}},
			Fixture: flow.Fixture[flow.NoParam, *setup]{
				SetUp:    setUp,
				Reset:    func(ctx context.Context, _ *flow.Env, s *setup) error { return s.probe.Restore(ctx) },
				TearDown: func(ctx context.Context, _ *flow.Env, s *setup) error { return s.probe.Restore(ctx) },
			},
			Timeout:  time.Minute,
			AllowLog: refusals,
		}
		for _, rule := range s.Rules {
			c.Cases = append(c.Cases, flow.Case[*setup]{
				Name: "test_" + rule.ID, Doc: rule.Doc, AllowLog: rule.Logs, ByName: rule.Crashes != "",
				Func: check(rule),
			})
		}
		flow.Add(r, "xe_contract", c)
	}
}

// A setup is a probe of a PF without VFs, in automatic mode.
type setup struct {
	probe   *rules.Probe
	harmful bool // rules may harm a machine in use
	crash   bool // rules may crash the kernel: --destructive was given
}

func setUp(ctx context.Context, env *flow.Env, _ flow.NoParam) (*setup, error) {
	config, err := flow.Resource[*bench.Config](env)
	if err != nil {
		return nil, err
	}
	h, err := flow.Resource[*host.Host](env)
	if err != nil {
		return nil, err
	}
	if _, err := h.LoadDrivers(ctx, env, config.Host.Driver); err != nil {
		return nil, err
	}
	want := xe.Selector{Card: config.Host.CardIndex, Address: config.Host.PCIAddress, Driver: config.Host.Driver}
	pf, err := xe.FindPF(h.Tree(env), want)
	if err != nil {
		return nil, err
	}
	probe, err := rules.NewProbe(rules.OS{}, env, pf.Address)
	if err != nil {
		return nil, err
	}
	return &setup{probe: probe, harmful: h.InLab() || config.AllowDestructive, crash: config.Destructive}, probe.Settle(
		ctx,
	)
}

func check(r rules.Rule) func(context.Context, *flow.T, *setup) {
	return func(ctx context.Context, t *flow.T, s *setup) {
		if reason := s.unmet(r); reason != "" {
			t.Skipf("%s", reason)
		}
		err := r.Run(ctx, s.probe)
		if missing, ok := errors.AsType[*rules.MissingError](err); ok {
			t.Skipf("%s", missing.Error())
		}
		if err != nil {
			// The text only, not the error: the kernel is under test, so the failure must have no
			// blame.
			t.Errorf("%s", err.Error())
		}
	}
}

// unmet returns why a rule is not checked; "" if it is.
func (s *setup) unmet(r rules.Rule) string {
	if reason := s.probe.Unmet(r); reason != "" {
		return reason
	}
	if r.Crashes != "" && !s.crash {
		return r.Crashes + ": only with --destructive"
	}
	if r.Destructive == "" || s.harmful {
		return ""
	}
	return "the rule " + r.Destructive + ": only with allow_destructive in the configuration, or with --destructive"
}
