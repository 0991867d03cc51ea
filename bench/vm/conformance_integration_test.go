//go:build integration

package vm

import (
	"testing"

	"vmtb/bench/benchtest"
)

// A guest keeps the same rules as the host.
func TestIntegrationConformance(t *testing.T) {
	benchtest.Machine(t, newPlace(t).boot(t, guestSpec(t)))
}
