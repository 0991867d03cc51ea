//go:build integration

package qmp_test

import (
	"errors"
	"strings"
	"testing"

	"vmtb/bench/qmp"
)

// A message of the longest allowed size arrives. With the race detector this takes seconds.
func TestIntegrationLongestMessages(t *testing.T) {
	if got, err := longReply(t, qmp.MaxLine); err != nil || got != "last" {
		t.Errorf("the longest line: got %q, %v", got, err)
	}
	if _, err := longReply(t, qmp.MaxLine+1); !errors.Is(err, qmp.ErrClosed) ||
		!strings.Contains(err.Error(), "longer than 67108864 bytes") {
		t.Errorf("a longer line: %v", err)
	}
	c, _ := connect(t, qmp.Options{})
	if err := c.Execute(t.Context(), "send", strings.Repeat("x", qmp.MaxLine), nil); err == nil || c.Err() != nil {
		t.Errorf("a longer request: %v, %v", err, c.Err())
	}
}
