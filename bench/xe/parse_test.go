package xe

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A sample is a kernel text, its parser, and the parser's error, if any.
type sample struct {
	parse func(string) (any, error)
	text  string
	says  string
}

func as[T any](parse func(string) (T, error)) func(string) (any, error) {
	return func(text string) (any, error) { return parse(text) }
}

// good has the examples of the contract (BMG 12 GB and PTL with two VFs), and the variants that the
// format allows.
var good = []struct {
	name   string
	parse  func(string) (any, error)
	sample string
}{
	{
		"ggtt_available, idle BMG", as(parseAvailable),
		"range:\t0x400000-0xfedfffff\t(3.98 GiB)\ntotal:\t4271898624\t(3.98 GiB)\nspare:\t67108864\t(64.0 " +
			"MiB)\navail:\t4204789760\t(3.92 GiB)\n",
	},
	{
		"ggtt_available, idle PTL", as(parseAvailable),
		"range:\t0x200000-0xfedfffff\t(3.98 GiB)\ntotal:\t4273995776\t(3.98 GiB)\nspare:\t67108864\t(64.0 " +
			"MiB)\navail:\t4206886912\t(3.92 GiB)\n",
	},
	{
		"ggtt_available, two holes", as(parseAvailable),
		"range:\t0x0-0xfff\t(4.00 KiB)\nrange:\t0x2000-0x2fff\t(4.00 KiB)\ntotal:\t8192\t(8.00 " +
			"KiB)\nspare:\t4096\t(4.00 " +
			"KiB)\navail:\t4096\t(4.00 KiB)\n",
	},
	{
		"ggtt_available, xe 7.3.4 on a used BMG", as(parseAvailable),
		"range:\t0x17f9000-0xfe5fffff\t(3.95 GiB)\nrange:\t0xd6d000-0xe70fff\t(1.02 MiB)\n" +
			"range:\t0xec2000-0xed2fff\t(68.0 KiB)\ntotal:\t4243701760\t(3.95 GiB)\n" +
			"spare:\t67108864\t(64.0 MiB)\navail:\t4176592896\t(3.89 GiB)\n",
	},
	{"ggtt_available, full", as(parseAvailable), "total:\t0\t(0 B)\nspare:\t67108864\t(64.0 MiB)\navail:\t0\t(0 B)\n"},
	{"vfs", as(parseLimits), "total: 24\nsupported: 24\nenabled: 2\n"},
	{"versions", as(parseVersions), "base:\t1.0\nlatest:\t1.0\nVF1:\t1.0\nVF12:\t1.1\n"},
	{"sriov_info of a PF", as(parseMode), "supported: yes\nenabled: yes\nmode: SR-IOV PF\n"},
	{"sriov_info, native", as(parseMode), "supported: yes\nenabled: no\nmode: none\n"},
	{"sriov_info, unsupported", as(parseMode), "supported: no\n"},
	{
		"adverse_events", as(parseEvents),
		"VF1:\tcat_error_count:1 engine_reset_count:2 page_fault_count:3 guc_time_us:4 irq_time_us:5 " +
			"doorbell_time_us:6 " +
			"multi_lrc_count:7 \n",
	},
	{
		"adverse_events before 7.0", as(parseEvents),
		"VF2:\tcat_error_count:1 engine_reset_count:2 page_fault_count:3 guc_time_us:4 irq_time_us:5 " +
			"doorbell_time_us:6 \n",
	},
	{"adverse_events to come", as(parseEvents), "VF2:\tcat_error_count:1 something_new:9 \n"},
	{"priority of a PF", as(parseChoice), "low [normal] high"},
	{"priority of a VF", as(parseChoice), "[low] normal"},
	{
		"self_config, main GT", as(parseSelfConfig),
		"GGTT range:\t0xbee00000-0xfedfffff\nGGTT size:\t1073741824 (1.00 GiB)\nLMEM size:\t6358564864 (5.92 " +
			"GiB)\nGuC " +
			"contexts:\t16384\nGuC doorbells:\t64\n",
	},
	{"self_config, media GT", as(parseSelfConfig), "GuC contexts:\t16384\nGuC doorbells:\t64\n"},
	{
		"self_config up to 6.18", as(parseSelfConfig),
		"GGTT range:\t0xbee00000-0xfedfffff\nGGTT size:\t1073741824 (1.00 GiB)\nGGTT shift on last " +
			"restore:\t-4096\nGuC " +
			"contexts:\t16384\nGuC doorbells:\t64\n",
	},
	{"resfix_stoppers", as(parseStoppers), "0x0a"},
}

func TestKernelTexts(t *testing.T) {
	var b strings.Builder
	for _, g := range good {
		v, err := g.parse(g.sample)
		fmt.Fprintf(&b, "%s\n%s  = %+v %v\n\n", g.name, g.sample, v, err)
	}
	file := filepath.Join("testdata", "kernel-texts.golden")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestNotKernelTexts(t *testing.T) {
	avail := "total:\t1\t(1 B)\nspare:\t0\t(0 B)\navail:\t1\t(1 B)\n"
	for _, s := range []sample{
		{as(parseAvailable), "", `no "avail"`},
		{as(parseAvailable), "range:\t0x5-0x4\t(x)\n" + avail, "not a range"},
		{as(parseAvailable), strings.Replace(avail, "1", "many", 1), `total: "many\t(1 B)" is not a number`},
		{as(parseAvailable), strings.Replace(avail, "avail", "left", 1), `no "avail"`},
		{as(parseAvailable), avail + avail, `"total" occurs twice`},
		{as(parseLimits), "total: 24\nsupported: 24\n", `no "enabled"`},
		{as(parseLimits), "total: -1\nsupported: 24\nenabled: 0", "not a number of VFs"},
		{as(parseVersions), "base:\t1\nlatest:\t1.0\n", `"1" is not a version`},
		{as(parseVersions), "base:\t1.0\nlatest:\t1.0\nVF1:\tx\n", `VF1: "x" is not a version`},
		{as(parseMode), "supported: maybe\n", "neither yes nor no"},
		{as(parseMode), "supported: yes\nenabled: yes\nmode:\n", "is empty"},
		{as(parseMode), "supported: yes\n", `no "enabled"`},
		{as(parseEvents), "VF1:\tcat_error_count:x\n", "not a count"},
		{as(parseEvents), "VF0:\tcat_error_count:1\n", "not the line of a VF"},
		{as(parseEvents), "PF:\tcat_error_count:1\n", "not the line of a VF"},
		{as(parseEvents), "\n", "not the line of a VF"},
		{
			as(parseEvents), "VF2:\tcat_error_count:1\nVF1:\tcat_error_count:1\n",
			`"VF1": not the line of a VF after VF2`,
		},
		{as(parseEvents), "VF1:\t\n", "no known counter"},
		{as(parseChoice), "low normal", "no choice"},
		{as(parseChoice), "[low] [normal]", "no choice"},
		{as(parsePriority), "3", "not a priority"},
		{as(parseSelfConfig), "", `no "GuC contexts"`},
		{as(parseSelfConfig), "GGTT size:\tmany\nGuC contexts:\t1\nGuC doorbells:\t1\n", "not a number"},
		{
			as(parseSelfConfig), "GGTT range:\t0x0-0xfff\nGGTT size:\t8192\nGuC contexts:\t1\nGuC doorbells:\t1\n",
			"has 4096 bytes, not 8192",
		},
		{as(parseStoppers), "0x100", "eight-bit"},
	} {
		if v, err := s.parse(strings.TrimRight(s.text, " ")); err == nil || !strings.Contains(err.Error(), s.says) {
			t.Errorf("%q: %+v, %v; want %s", s.text, v, err, s.says)
		}
	}
}

// FuzzKernelTexts: no text makes a parser crash.
func FuzzKernelTexts(f *testing.F) {
	for i, g := range good {
		f.Add(g.sample, uint8(i))
	}
	f.Fuzz(func(t *testing.T, text string, which uint8) {
		g := good[int(which)%len(good)]
		_, _ = g.parse(text)
	})
}
