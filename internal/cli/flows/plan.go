package flows

import (
	"encoding/json"

	"vmtb/bench"
	"vmtb/bench/klog"
	"vmtb/flow"
	"vmtb/internal/cli/env"
	"vmtb/internal/kernelwatch"
)

// A Plan is the flows of a run, with their configuration and rules.
type Plan struct {
	Items      []flow.Item
	Notes      []string // lines for the user
	Config     *bench.Config
	ConfigFile string // "" without one
	Rules      klog.Rules
	RawRules   json.RawMessage // the user's file of rules, as JSON
}

// Plan reads the files that the flags name, and returns the plan of the run. It changes nothing.
func (o *RunOptions) Plan(e *env.Env, selection []string) (*Plan, error) {
	var p Plan
	var err error
	if p.Items, p.Notes, err = o.Choose(e, selection); err != nil {
		return nil, err
	}
	if p.Config, p.ConfigFile, err = o.Load(); err != nil {
		return nil, err
	}
	quarantined, err := o.MarkQuarantine(e, p.Items)
	if err != nil {
		return nil, err
	}
	p.Notes = append(p.Notes, quarantined...)
	p.RawRules, p.Rules, err = kernelwatch.ReadRules(o.Rules)
	return &p, err
}
