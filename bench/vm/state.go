package vm

import (
	"context"
	"fmt"
)

// A State is what a machine is doing.
//
//	Start --> Running <--> Paused
//	             |---> Panicked      the guest's kernel has; QEMU has stopped the guest
//	             |---> IOError       a disk of the host is full; QEMU has stopped the guest
//	             |---> Suspended     the guest sleeps (S3)
//	any of these ---> Gone           QEMU has ended
type State string

// The states of a machine.
const (
	Running   State = "running"
	Paused    State = "paused"
	Suspended State = "suspended"
	Panicked  State = "panicked"
	IOError   State = "io-error"
	Gone      State = "gone"
)

// State asks QEMU for the machine's state. A run state of QEMU's without a name here is returned as QEMU calls it.
func (m *VM) State(ctx context.Context) (State, error) {
	if m.proc.gone(0) {
		return Gone, nil
	}
	var reply struct{ Status string }
	if err := m.qmp.Execute(ctx, "query-status", nil, &reply); err != nil {
		if m.proc.gone(0) {
			return Gone, nil
		}
		return "", fmt.Errorf("%s: %w", m, err)
	}
	if reply.Status == "guest-panicked" {
		return Panicked, nil
	}
	return State(reply.Status), nil
}
