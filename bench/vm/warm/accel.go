package warm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"vmtb/bench/vm"
	"vmtb/internal/atomicfile"
	"vmtb/internal/procfs"
)

// kvmFile says with which QEMU KVM has worked, and in which boot of the host.
const kvmFile = "kvm-works"

// accel returns the accelerator for s. A probe of KVM costs a start of QEMU. So a KVM that has worked
// is probed again only after the next boot of the host, and after a start that failed.
func (st Store) accel(ctx context.Context, s vm.Spec) (string, error) {
	now, err := presentKVM(s)
	if err != nil { // vm.ProbeAccel says what to install
		a, err := vm.ProbeAccel(ctx, s.QEMU)
		return a.Name, err
	}
	path := filepath.Join(st.Dir, kvmFile)
	if known, err := os.ReadFile(path); err == nil && string(known) == now {
		return "kvm", nil
	}
	a, err := vm.ProbeAccel(ctx, s.QEMU)
	if err != nil || a.Name != "kvm" {
		return a.Name, err
	}
	err = os.MkdirAll(st.Dir, 0o755)
	if err == nil {
		err = atomicfile.WriteFile(path, []byte(now), 0o644)
	}
	if err != nil {
		return "", infra(err)
	}
	return a.Name, nil
}

// forgetKVM has the next start probe KVM: it may be the reason why this one failed.
func (st Store) forgetKVM() { _ = os.Remove(filepath.Join(st.Dir, kvmFile)) }

// presentKVM identifies this boot of the host, the user, and the QEMU of s.
func presentKVM(s vm.Spec) (string, error) {
	boot, err := procfs.BootID()
	if err != nil {
		return "", err
	}
	program, err := fileIDs(qemuOf(s))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %d %s", boot, os.Getuid(), program), nil
}
