package qga

import "testing"

func TestTruncated(t *testing.T) {
	full, short, yes, no := make([]byte, outputLimit), []byte("x"), true, false
	for _, c := range []struct {
		output []byte
		flag   *bool
		want   bool
	}{
		{full, nil, false}, // exactly the agent's limit
		{full, &no, true},  // agent 10.0.2
		{full, &yes, true},
		{short, nil, false},
		{short, &no, false}, // other agents
	} {
		if got := truncated(c.output, c.flag); got != c.want {
			t.Errorf("%d bytes, flag %v: %v", len(c.output), c.flag, got)
		}
	}
}
