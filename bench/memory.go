package bench

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// movingMiB is the most memory that the xe driver takes to save or restore one VF: a queue of 5
// parts of the state, each of 512 MiB at most, and the part that is read or written
// (XE_GT_SRIOV_PF_MIGRATION_RING_SIZE, VF_VRAM_STATE_CHUNK_MAX_SIZE).
const movingMiB = 6 * 512

// MovingMiB returns the most memory that the xe driver takes to save or restore a VF with a state of
// this size, with its local memory.
func MovingMiB(stateMiB int) int { return min(stateMiB, movingMiB) }

// AvailableMiB returns the memory of this host that programs can have without swapping.
func AvailableMiB() (int, error) {
	meminfo, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, &InfraError{Op: "read the available memory", Err: err, Advice: "is /proc mounted?"}
	}
	return availableMiB(string(meminfo))
}

func availableMiB(meminfo string) (int, error) {
	var kib int
	_, line, _ := strings.Cut(meminfo, "MemAvailable:")
	if _, err := fmt.Sscan(line, &kib); err != nil {
		return 0, &InfraError{Op: "read /proc/meminfo", Err: fmt.Errorf("MemAvailable: %w", err)}
	}
	return kib >> 10, nil
}

// CheckMovingMemory returns an [InfraError] unless this host has the memory that drivers take to
// save or restore VFs at once. stateMiB has the size of each VF's state. Without this memory the
// kernel kills processes: this one, QEMU, or the guests.
func CheckMovingMemory(op string, stateMiB ...int) error {
	available, err := AvailableMiB()
	if err != nil {
		return err
	}
	return checkMovingMemory(op, available, stateMiB)
}

func checkMovingMemory(op string, available int, stateMiB []int) error {
	need := 0
	for _, mib := range stateMiB {
		need += MovingMiB(mib)
	}
	if available >= need {
		return nil
	}
	return &InfraError{
		Op: op,
		Err: fmt.Errorf(
			"%w: the driver takes up to %d MiB to move the VF's state, %d MiB are available",
			syscall.ENOMEM, need, available,
		),
		Advice: "end other programs, or give VFs less local memory: without this memory the kernel kills processes",
	}
}
