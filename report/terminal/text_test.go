package terminal

import (
	"testing"

	"vmtb/flow"
)

// A message of some lines is shown on one line; of a kernel's report, only its first line.
func TestLogLine(t *testing.T) {
	for message, want := range map[string]string{
		"one\n":       `INFO one`,
		"a\nb\nc":     `INFO a\nb\nc`,
		"a\nb\nc\nd":  `INFO a (and 3 more lines)`,
		"\x1b[1mbold": `INFO \x1b[1mbold`,
	} {
		if got := logLine(flow.Entry{Level: "INFO", Message: message}); got != want {
			t.Errorf("%q: got %q, want %q", message, got, want)
		}
	}
}
