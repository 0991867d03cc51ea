package klog

import (
	"errors"
	"strings"
	"testing"

	"vmtb/bench"
)

// TestBuiltin: the built-in rules judge real kernel lines.
func TestBuiltin(t *testing.T) {
	rules, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		level int
		text  string
		rule  string
		want  Action
	}{
		{4, "WARNING: CPU: 0 PID: 412 at drivers/gpu/drm/xe/xe_guc.c:12 xe_guc_reset+0x1/0x2 [xe]", "warning", Fail},
		{4, "WARNING: drivers/gpu/drm/xe/xe_guc.c:12 at xe_guc_reset+0x1/0x2 [xe], CPU#0: bash/1", "warning", Fail},
		{4, "WARNING: possible circular locking dependency detected", "lockdep", Fail},
		{4, "WARNING: suspicious RCU usage", "lockdep", Fail},
		{1, "BUG: kernel NULL pointer dereference, address: 0000000000000008", "oops", Fail},
		{4, "Oops: 0002 [#1] PREEMPT SMP NOPTI", "oops", Fail},
		{0, "Kernel panic - not syncing: Fatal exception", "oops", Fail},
		{3, "INFO: task vmtb:812 blocked for more than 120 seconds.", "hang", Fail},
		{0, "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [modprobe:81]", "hang", Fail},
		{3, "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", "hang", Fail},
		{
			3,
			"DMAR: [DMA Write NO_PASID] Request device [03:00.1] fault addr 0x1000 [fault reason 0x05] PTE Write " +
				"access is not set", "iommu-fault", Fail,
		},
		{2, "xe 0000:03:00.0: [drm] CRITICAL: Xe has declared device 0000:03:00.0 as wedged.", "wedged", Fail},
		{3, "xe-vfio-pci 0000:03:00.1: cannot save", "driver-error", Warn},
		{3, "vfio-pci 0000:03:00.1: no", "driver-error", Warn},
		{2, "something is very wrong", "emergency", Warn},
		{6, "xe 0000:03:00.0: [drm] Using GuC firmware from xe/bmg_guc_70.bin", "", Ignore},
		{4, "clocksource: Long readout interval", "", Ignore},
		{4, "xe: loading out-of-tree module taints kernel.", "", Ignore},
		{UnknownLevel, "BUG: unable to handle page fault for address: ffff", "oops", Fail},
	} {
		if rule, got := rules.Judge(Message{Source: Host, Level: c.level, Text: c.text}); got != c.want ||
			rule != c.rule {
			t.Errorf("%q: %s by %q, want %s by %q", c.text, got, rule, c.want, c.rule)
		}
	}
}

const sample = `{"rules": [
  {"name": "known", "match": "^xe .*odd$", "source": "guest", "action": "ignore"},
  {"name": "pci", "subsystem": "pci", "level": 4, "action": "fail"},
  {"name": "odd", "match": "odd", "action": "warn"}
]}`

// The first rule that matches decides.
func TestJudge(t *testing.T) {
	rules, err := Parse("r.json", []byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		m    Message
		want string
	}{
		{Message{Guest, 3, "", "xe is odd"}, "known ignore"},
		{Message{Host, 3, "", "xe is odd"}, "odd warn"},
		{Message{Host, 4, "pci", "text"}, "pci fail"},
		{Message{Host, 5, "pci", "text"}, " ignore"},
		{Message{Host, UnknownLevel, "pci", "odd"}, "odd warn"},
		{Message{Host, 0, "usb", "text"}, " ignore"},
	} {
		if rule, a := rules.Judge(c.m); rule+" "+string(a) != c.want {
			t.Errorf("%+v: %s %s, want %s", c.m, rule, a, c.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{
			`{"rules": [{"name": "a", "match": "(", "action": "fail"}]}`,
			"r.json:1:35: rules.0.match: error parsing regexp: missing closing )",
		},
		{
			"{\"rules\": [\n {\"name\": \"a\", \"match\": \"x\", \"action\": \"explode\"}]}",
			`r.json:2:40: rules.0.action: action "explode", want one of ["ignore" "warn" "fail"]`,
		},
		{
			`{"rules": [{"name": "a", "match": "x", "source": "moon", "action": "fail"}]}`,
			`r.json:1:50: rules.0.source: source "moon"`,
		},
		{`{"rules": [{"name": "a", "match": "x"}]}`, "r.json: rules.0: action is missing"},
		{`{"rules": [{"match": "x", "action": "fail"}]}`, "r.json: rules.0: name is missing"},
		{`{"rules": [{"name": "a", "action": "fail"}]}`, "r.json: rules.0: it matches everything"},
		{`{"rules": [{"name": "a", "match": "", "action": "ignore"}]}`, "r.json: rules.0: match is empty"},
		{
			`{"rules": [{"name": "a", "match": "", "level": 3, "action": "ignore"}]}`,
			"r.json: rules.0: match is empty",
		},
		{
			`{"rules": [{"name": "a", "match": "", "subsystem": "p", "action": "ignore"}]}`,
			"r.json: rules.0: match is empty",
		},
		{`{"rules": [{"name": "a", "match": ".*", "action": "ignore"}]}`, "r.json: rules.0: it matches everything"},
		{
			`{"rules": [{"name": "a", "match": "oops|", "action": "ignore"}]}`,
			"r.json: rules.0: it matches everything",
		},
		{`{"rules": [{"name": "a", "match": ".", "action": "ignore"}]}`, "r.json: rules.0: it matches everything"},
		{`{"rules": [{"name": "a", "match": ".+", "action": "ignore"}]}`, "r.json: rules.0: it matches everything"},
		{
			`{"rules": [{"name": "a", "match": "^.{5,}", "action": "ignore"}]}`,
			"r.json: rules.0: it matches everything",
		},
		{`{"rules": [{"name": "a", "match": "[^:]", "action": "ignore"}]}`, "r.json: rules.0: it matches everything"},
		{`{"rules": [{"name": "a", "match": "x|.", "action": "ignore"}]}`, "r.json: rules.0: it matches everything"},
		{
			`{"rules": [{"name": "a", "level": 8, "action": "fail"}]}`,
			"r.json: rules.0: level is 8, want 0 (emergency) to 7 (debug)",
		},
		{`{"rules": [{"name": "a", "level": "err", "action": "fail"}]}`, "r.json:1:35: rules.0.level: "},
		{`{"rules": [{"name": "a", "mach": "x", "action": "fail"}]}`, "r.json:1:26: rules.0.mach: unknown key"},
		{`{"rules": [`, "r.json:1:12: "},
	} {
		_, err := Parse("r.json", []byte(c.text))
		var usage *bench.UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.text, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sample))
	f.Add(builtin)
	f.Fuzz(func(_ *testing.T, data []byte) {
		if rules, err := Parse("r", data); err == nil {
			rules.Judge(Message{Host, 3, "pci", string(data)})
		}
	})
}
