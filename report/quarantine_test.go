package report

import (
	"os"
	"strings"
	"testing"
	"time"

	"vmtb/flow"
)

// What failed in quarantine is shown as such, with the reason, and no reader of results takes it for a failure.
func TestQuarantined(t *testing.T) {
	id := boot("1VF-" + profile)
	tape := newTape(id)
	tape.plan("01-x/test_vm_boot")
	tape.info.Plan[0].Quarantine = &flow.Quarantine{ID: "TestVmSetup", Reason: "GuC hangs", Link: "https://bugs.example/7", Expires: "2026-12-31"}
	tape.begin(flow.PhaseCase, id)
	tape.end(flow.Entry{Phase: flow.PhaseCase, ID: id, Result: flow.Fail, Reason: "no VF", Quarantined: true}, time.Second)
	tape.finish(flow.Entry{})
	if got := tape.play(TerminalOptions{}); !strings.Contains(got, "FAILED 1 s (quarantined)") {
		t.Errorf("terminal:\n%s", got)
	}
	run := sample{name: "quarantined", tape: tape}.open(t)
	const why = "quarantined until 2026-12-31: GuC hangs (https://bugs.example/7)"
	for format, says := range map[string][]string{
		"junit": {`<skipped message="` + why + `: no VF"`, `failures="0"`, `skipped="1"`},
		"ktap":  {"not ok 1 test_vm_boot # TODO " + why, "\nok 1 "},
	} {
		got := write(t, format, run)
		for _, text := range says {
			if !strings.Contains(got, text) {
				t.Errorf("%s does not say %q:\n%s", format, text, got)
			}
		}
	}
	for _, page := range pagesOf(t, writeSite(t, run, nil)) {
		if strings.HasSuffix(page, "/matrix.html") { // has no room for reasons
			continue
		}
		data, err := os.ReadFile(page)
		if err != nil || !strings.Contains(string(data), why) {
			t.Errorf("%s does not say %q: %v", page, why, err)
		}
	}
}
