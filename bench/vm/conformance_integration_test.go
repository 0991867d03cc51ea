//go:build integration

package vm

import (
	"testing"

	"vmtb/bench/benchtest"
)

// A guest keeps the same rules as the host, and no helper file of a command stays in it.
func TestIntegrationConformance(t *testing.T) {
	t.Parallel()
	m := newPlace(t).boot(t, guestSpec(t))
	benchtest.Machine(t, m)
	sh(
		t, m,
		"! ls -d /var/tmp/vmtb-exec-* /tmp/vmtb-exec-* || exit 1; ps -o args | grep '[d]d bs=65536' && exit 1; true",
	)
}
