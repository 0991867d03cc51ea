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

// CheckMovingMemory returns an [InfraError] unless this host has the memory that drivers take to
// save or restore VFs at once. stateMiB has the size of each VF's state, with its local memory.
// Without this memory the kernel kills processes: this one, QEMU, or the guests.
func CheckMovingMemory(op string, stateMiB ...int) error {
	meminfo, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return &InfraError{Op: op, Err: err, Advice: "is /proc mounted?"}
	}
	return checkMovingMemory(op, string(meminfo), stateMiB)
}

func checkMovingMemory(op, meminfo string, stateMiB []int) error {
	need := 0
	for _, mib := range stateMiB {
		need += min(mib, movingMiB)
	}
	var kib int
	_, line, _ := strings.Cut(meminfo, "MemAvailable:")
	if _, err := fmt.Sscan(line, &kib); err != nil {
		return &InfraError{Op: op, Err: fmt.Errorf("/proc/meminfo: MemAvailable: %w", err)}
	}
	if kib>>10 >= need {
		return nil
	}
	return &InfraError{
		Op: op,
		Err: fmt.Errorf(
			"%w: the driver takes up to %d MiB to move the VF's state, %d MiB are available", syscall.ENOMEM, need, kib>>10,
		),
		Advice: "end other programs, or give VFs less local memory: without this memory the kernel kills processes",
	}
}
