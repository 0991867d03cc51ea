package vm

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"

	"vmtb/bench"
)

// Warm reports whether the machine went on from a state ([Spec.State]) when it was started, instead
// of booting.
func (m *VM) Warm() bool { return m.warm }

// goOn loads the state of a machine that has just been started, plugs in its VFs, and lets the
// guest run.
func (m *VM) goOn(ctx context.Context) error {
	state := m.spec.State
	m.spec.State = "" // from here on the disks change, and the file does not belong to them
	if err := m.stateFiles.Load(ctx, state); err != nil {
		return err
	}
	m.warm = true
	if err := m.plugVFs(ctx); err != nil || m.opts.Mode != ModeRun {
		return err
	}
	if err := m.power.Resume(ctx); err != nil {
		return err
	}
	return m.guest.renew(ctx, len(m.spec.VFs))
}

// plugVFs plugs in the machine's VFs; their root ports are there. The guest is stopped: it finds
// the VFs when it goes on.
func (m *VM) plugVFs(ctx context.Context) error {
	for i, vf := range m.spec.VFs {
		if err := m.qmp.Execute(ctx, "device_add", m.spec.vfDevice(i).arguments(), nil); err != nil {
			return m.life.explain("plug in VF "+string(vf.Host), err)
		}
	}
	return nil
}

// renew makes the guest differ from others that go on from the same state: it gets random numbers,
// a boot id until it boots and, if it has one, a new machine id. When renew returns, the guest
// knows all its VFs, and the loaded drivers have probed them.
func (g *Guest) renew(ctx context.Context, vfs int) error {
	c := bench.Command{
		Argv: []string{
			"/bin/sh", "-es", warmBootID(), hex.EncodeToString(randomBytes(16)),
			hex.EncodeToString(randomBytes(64)), strconv.Itoa(vfs),
		},
		Stdin: []byte(renewScript),
	}
	r, err := g.qga.Exec(ctx, c)
	if err == nil {
		err = r.Err(c)
	}
	if err != nil {
		return g.life.guestError("continue from a saved state", err)
	}
	return nil
}

// A scan for PCI devices waits for one that is under way. It has found a VF when it ends, and the
// driver's probe, which a scan does itself, has ended too (Linux, pci_rescan_bus() below
// pci_lock_rescan_remove()).
const renewScript = `
echo "$3" >/dev/urandom
echo "$1" >/run/vmtb-boot-id
mount --bind /run/vmtb-boot-id /proc/sys/kernel/random/boot_id
[ ! -s /etc/machine-id ] || echo "$2" >/etc/machine-id
[ "$4" = 0 ] || echo 1 >/sys/bus/pci/rescan
`

// warmBootID makes a boot id for a guest that has not booted: it begins with "warm" in ASCII, and
// is a UUID of version 8.
func warmBootID() string {
	b := randomBytes(16)
	copy(b, "warm")
	b[6], b[8] = 0x80|b[6]&0x0f, 0x80|b[8]&0x3f
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return b
}
