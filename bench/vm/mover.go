package vm

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"vmtb/bench"
)

// A BlockedError says why the state of a machine cannot be saved or moved. It matches [bench.ErrNotAvailable].
type BlockedError struct {
	Machine string
	Op      string
	Reasons []string // QEMU's words (query-migrate, blocked-reasons)
}

func (e *BlockedError) Error() string {
	text := fmt.Sprintf("%s: %s: its state cannot be moved: %s", e.Machine, e.Op, strings.Join(e.Reasons, "; "))
	for _, r := range e.Reasons {
		for _, a := range blockAdvice {
			if strings.Contains(r, a.said) {
				return text + " (" + a.advice + ")"
			}
		}
	}
	return text
}

func (e *BlockedError) Unwrap() error { return bench.ErrNotAvailable }

// blockAdvice explains QEMU's reasons (hw/vfio/migration.c). What moves the state of a VF is its driver on the host, so that is what
// must be there.
var blockAdvice = []struct{ said, advice string }{
	{"not supported in kernel", "the VF's driver moves no state: bind the vendor VFIO driver (xe-vfio-pci, of Linux 6.19 or newer with CONFIG_XE_VFIO_PCI) instead of vfio-pci"},
	{"dirty", "the VF's driver does not track written memory: start the machine with EnableMigration"},
	{"P2P", "several VFs in one machine need a driver that can stop traffic between devices (P2P)"},
	{"IOMMU", "take the virtual IOMMU out of the machine"},
	{"disabled", "start the machine with EnableMigration"},
}

// canMove is nil unless something keeps the machine's state from being saved or moved.
func (m *VM) canMove(ctx context.Context, op string) error {
	var reply struct {
		Reasons []string `json:"blocked-reasons"`
	}
	if err := m.qmp.Execute(ctx, "query-migrate", nil, &reply); err != nil {
		return err
	}
	if len(reply.Reasons) > 0 {
		return &BlockedError{Machine: m.spec.Name, Op: op, Reasons: reply.Reasons}
	}
	return nil
}

// room is nil if the file system of path has place for the machine's state, were none of its memory empty.
func (m *VM) room(op, path string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return infra(fmt.Sprintf("%s: %s: look at the disk of %s", m, op, path), err)
	}
	free, need := int64(fs.Bavail)*fs.Bsize>>20, int64(m.stateMiB())
	if free < need {
		return &bench.InfraError{
			Op:     fmt.Sprintf("%s: %s to %s", m, op, path),
			Err:    fmt.Errorf("%w: %d MiB free, up to %d MiB needed", unix.ENOSPC, free, need),
			Advice: "make room, or have the machine's files made elsewhere",
		}
	}
	return nil
}
