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

// A machine is this host, reached through an agent. Methods that only a guest has are the host's.
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

// The rules for a machine hold through an agent without a virtual machine, too.
func TestIntegrationAgentConformance(t *testing.T) {
	c := startAgent(t).dial(t.Context(), qga.Options{})
	benchtest.Machine(t, machine{c, host.New(host.OS{})})
}
