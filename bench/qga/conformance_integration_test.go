//go:build integration

package qga_test

import (
	"context"
	"testing"

	"vmtb/bench"
	"vmtb/bench/benchtest"
	"vmtb/bench/host"
	"vmtb/bench/qga"
)

// A machine is this one, reached through an agent. What a guest's machine has of its own is the
// host's here.
type machine struct {
	*qga.Client
	*host.Host
}

func (m machine) Exec(ctx context.Context, c bench.Command) (bench.Result, error) {
	return m.Client.Exec(ctx, c)
}

func (m machine) Start(ctx context.Context, c bench.Command) (bench.Process, error) {
	return m.Client.Start(ctx, c)
}

func (m machine) ReadFile(ctx context.Context, path string) ([]byte, error) {
	return m.Client.ReadFile(ctx, path)
}

func (m machine) WriteFile(ctx context.Context, path string, data []byte) error {
	return m.Client.WriteFile(ctx, path, data)
}

// Through an agent without a virtual machine the rules are the same as on the host and in a guest.
func TestIntegrationAgentConformance(t *testing.T) {
	c := startAgent(t).dial(t.Context(), qga.Options{})
	benchtest.Machine(t, machine{c, host.New(host.OS{})})
}
