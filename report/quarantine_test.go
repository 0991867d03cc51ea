package report

import (
	"os"
	"strings"
	"testing"
	"time"

	"vmtb/flow"
	"vmtb/report/reporttest"
	"vmtb/report/terminal"
)

// A failure in quarantine is shown with its reason. No reader of results takes it for a failure.
func TestQuarantined(t *testing.T) {
	id := reporttest.Boot("1VF-" + reporttest.Profile)
	tape := reporttest.NewTape(id)
	tape.Plan("01-x/test_vm_boot")
	tape.Info.Plan[0].Quarantine = &flow.Quarantine{
		ID: "TestVmSetup", Reason: "GuC hangs", Link: "https://bugs.example/7", Expires: "2026-12-31",
	}
	tape.Begin(flow.PhaseCase, id)
	tape.End(
		flow.Entry{Phase: flow.PhaseCase, ID: id, Result: flow.Fail, Reason: "no VF", Quarantined: true}, time.Second,
	)
	tape.Finish(flow.Entry{})
	var shown strings.Builder
	tape.Play(terminal.New(&shown, terminal.Options{}))
	if got := shown.String(); !strings.Contains(got, "FAILED 1 s (quarantined)") {
		t.Errorf("terminal:\n%s", got)
	}
	run := reporttest.Sample{Name: "quarantined", Tape: tape}.Open(t)
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
	for _, page := range reporttest.Pages(t, writeSite(t, run)) {
		if strings.HasSuffix(page, "/matrix.html") { // this page has no room for reasons
			continue
		}
		data, err := os.ReadFile(page)
		if err != nil || !strings.Contains(string(data), why) {
			t.Errorf("%s does not say %q: %v", page, why, err)
		}
	}
}
