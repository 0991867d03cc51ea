package qmp

import (
	"strings"
	"time"
)

const (
	queryTime = 10 * time.Second
	// VFIO: reset and mapping of a GPU with all of the guest's memory.
	deviceTime = 120 * time.Second
	// Depends on the size of the state; the caller's ctx can be tighter.
	operationTime = time.Hour
)

func (c *Client) deadline(cmd string) time.Duration {
	return scale(classTime(cmd), c.opts.Scale)
}

func classTime(cmd string) time.Duration {
	for _, class := range []struct {
		prefixes []string
		time     time.Duration
	}{
		{[]string{"query-", "qom-get", "qom-list", "job-"}, queryTime},
		{[]string{"snapshot-", "migrate", "dump-guest-memory", "human-monitor-command"}, operationTime},
	} {
		for _, p := range class.prefixes {
			if strings.HasPrefix(cmd, p) {
				return class.time
			}
		}
	}
	return deviceTime
}

func scale(d time.Duration, by float64) time.Duration {
	if by == 0 {
		return d
	}
	return time.Duration(float64(d) * by)
}
