package flow

import (
	"strings"
	"testing"
)

// Options.Keep is called when all other results are recorded, and before the fixture of the failed
// case is torn down.
func TestKeep(t *testing.T) {
	for _, tt := range []struct {
		name        string
		policy      Policy
		do          do
		trace, kept string
		results     string
		code        int
	}{
		{
			"a case that fails",
			Policy{},
			do{"one": fails(errBoom)},
			"set-up a1; one; keep; tear-down 1; undo",
			"file::Class[a]", "fail notrun notrun notrun", ExitFail,
		},
		{
			"a set-up that fails",
			Policy{},
			do{"set-up a1": fails(errBoom)},
			"set-up a1; keep; undo", "file::Class[a]",
			"error notrun notrun notrun", ExitError,
		},
		{
			"a panic",
			Policy{},
			do{"two": panics},
			"set-up a1; one; reset 1; two; keep; tear-down 1; undo",
			"file::Class[a]", "pass fail notrun notrun", ExitFail,
		},
		{
			"only the last attempt",
			Policy{RerunFailed: 1},
			do{"one": unstable(1)},
			"set-up a1; one; reset 1; two; tear-down 1; undo; set-up a2; one; tear-down 2; undo; set-up b3; one; " +
				"reset 3; two; tear-down 3; undo", "", "fail pass pass pass pass", ExitPass,
		},
		{
			"nothing that fails",
			Policy{},
			nil,
			"set-up a1; one; reset 1; two; tear-down 1; undo; set-up b2; one; reset 2; two; tear-down 2; undo", "",
			"pass pass pass pass", ExitPass,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &script{do: tt.do}
			kept := ""
			got := s.run(t.Context(), t, Options{Policy: tt.policy, Keep: func(sum Summary, id ID) {
				s.note("keep")
				kept = id.String()
				if sum.ExitCode() != tt.code {
					t.Errorf("Keep is told of exit code %d, want %d", sum.ExitCode(), tt.code)
				}
			}}, "a", "b")
			if trace := strings.Join(s.trace, "; "); trace != tt.trace || kept != tt.kept {
				t.Errorf("kept %q, did\n%s, want\n%s", kept, trace, tt.trace)
			}
			if got.results() != tt.results || got.ExitCode() != tt.code {
				t.Errorf("results %s, exit code %d", got.results(), got.ExitCode())
			}
		})
	}
}
