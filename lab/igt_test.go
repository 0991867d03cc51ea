//go:build lab

package lab_test

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"vmtb/bench"
)

// checkIGT fails t unless every subtest in tests has passed, and each of its dynamic subtests.
func checkIGT(t *testing.T, got map[string]igtResult, tests []string) {
	t.Helper()
	for _, want := range tests {
		t.Run(want, func(t *testing.T) {
			names := slices.Sorted(maps.Keys(got))
			names = slices.DeleteFunc(names, func(name string) bool { return !isSubtest(name, want) })
			if len(names) == 0 {
				t.Fatal("igt_runner ran no subtest of it")
			}
			for _, name := range names {
				t.Run(name, got[name].check)
			}
		})
	}
}

// isSubtest reports whether name is a subtest, or one of its dynamic subtests, that matches the
// entry want of a list of tests.
func isSubtest(name, want string) bool {
	return strings.Count(name, "@") >= 2 && (name == want || strings.HasPrefix(name, want+"@"))
}

// An igtResult is one result of results.json.
type igtResult struct {
	Result        string `json:"result"`
	Out           string `json:"out"`
	Err           string `json:"err"`
	DmesgWarnings string `json:"dmesg-warnings"`
	Time          struct {
		Start float64 `json:"start"` // in seconds
		End   float64 `json:"end"`
	} `json:"time"`
}

// runIGT runs tests in the DUT with the real igt_runner, and returns the results by name. It kills
// a program that takes longer than timeout for one subtest. The runner's files stay in the
// directory name of the DUT's share.
func (d *dut) runIGT(
	ctx context.Context, t *testing.T, name string, timeout time.Duration, tests []string,
) map[string]igtResult {
	t.Helper()
	list, dir := filepath.Join(d.dir, name+".testlist"), filepath.Join(d.dir, name)
	if err := os.WriteFile(list, []byte(strings.Join(tests, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := bench.Command{Argv: igtRunner(timeout, list, dir)}
	r, err := d.Exec(ctx, c)
	if err == nil {
		err = r.Err(c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return readIGT(t, filepath.Join(dir, "results.json"))
}

// igtRunner returns the command line that runs a list of tests and writes the results to dir.
func igtRunner(timeout time.Duration, list, dir string) []string {
	seconds := strconv.Itoa(int(timeout.Seconds()))
	return []string{"igt_runner", "--per-test-timeout", seconds, "--test-list", list, "/usr/libexec/igt-gpu-tools", dir}
}

// readIGT returns the results in a results.json of igt_runner, by name.
func readIGT(t *testing.T, file string) map[string]igtResult {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var results struct {
		Tests map[string]igtResult `json:"tests"`
	}
	if err := json.Unmarshal(data, &results); err != nil {
		t.Fatal(err)
	}
	return results.Tests
}

func (r igtResult) check(t *testing.T) {
	t.Logf("%s in %.1f s", r.Result, r.Time.End-r.Time.Start)
	if r.passed() {
		return
	}
	t.Errorf(
		"%s\nkernel: %s\n%s\n%s", r.Result, r.DmesgWarnings, bench.Tail([]byte(r.Out), 10),
		bench.Tail([]byte(r.Err), 30),
	)
}

// passed reports whether the subtest passed. It accepts warnings that come from a slow CPU or a
// talkative driver.
func (r igtResult) passed() bool {
	switch r.Result {
	case "pass":
		return true
	case "warn", "dmesg-warn":
		return allMatch(r.DmesgWarnings, harmlessDmesg) && allMatch(r.Err, harmlessErr)
	}
	return false
}

// Warnings without a fault of the device or the driver.
var (
	harmlessDmesg = regexp.MustCompile(strings.Join([]string{
		`clocksource: Long readout interval`, // the DUT had to wait for this machine
		// The number of debug messages in xe that are not enabled.
		`xe_guc_relay: \d+ callbacks suppressed`,
		// The answer is there. Its waiter got the CPU 1 s late.
		`G2H fence \d+, action [0-9a-f]+, done`,
		`NOTICE: Automounting of tracing to debugfs is deprecated`, // caused by IGT
	}, "|"))
	harmlessErr = regexp.MustCompile(strings.Join([]string{
		`^Starting (dynamic )?subtest: `, `^(Dynamic subtest|Subtest) .*: SUCCESS`,
		// xe_sriov_scheduling warns if an engine was idle: the emulated CPU submitted work too
		// slowly. This does not explain a ratio above 1, so such a warning is not accepted.
		`Warning on condition !check_within_epsilon\(metrics\[n\]\.active_to_total_ratio,`,
		`WARNING: active/total=0\.\d+ not within `,
	}, "|"))
)

// allMatch reports whether each line of text that is not blank matches the expression.
func allMatch(text string, expression *regexp.Regexp) bool {
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) != "" && !expression.MatchString(line) {
			return false
		}
	}
	return true
}
