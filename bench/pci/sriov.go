package pci

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"vmtb/bench"
	"vmtb/bench/sysfs"
	"vmtb/bench/undo"
	"vmtb/internal/prose"
)

// TotalVFs returns how many VFs the driver allows.
func (d *Device) TotalVFs() (int, error) { return d.count("/sriov_totalvfs") }

// NumVFs returns how many VFs are enabled.
func (d *Device) NumVFs() (int, error) { return d.count("/sriov_numvfs") }

func (d *Device) count(file string) (int, error) {
	n, err := d.tree.Uint(d.Dir() + file)
	return int(n), err
}

// SetAutoprobe sets whether the host's drivers bind new VFs by themselves (the kernel's default).
func (d *Device) SetAutoprobe(ctx context.Context, on bool) error {
	file := d.Dir() + "/sriov_drivers_autoprobe"
	old, err := d.tree.Text(file)
	if err != nil {
		return err
	}
	value := "0"
	if on {
		value = "1"
	}
	if old == value {
		return nil
	}
	return d.tree.Change(ctx, undo.Write{Path: file, Old: old, New: value}, value)
}

// EnableVFs enables n VFs and waits until all of them exist. The kernel refuses (EBUSY) while other
// VFs are enabled: see [Device.DisableVFs].
func (d *Device) EnableVFs(ctx context.Context, n int) error {
	file := d.Dir() + "/sriov_numvfs"
	old, err := d.tree.Text(file)
	if err != nil {
		return err
	}
	value := strconv.Itoa(n)
	if old != value {
		if err := d.tree.Change(ctx, undo.Write{Path: file, Old: old, New: value}, value); err != nil {
			return err
		}
	}
	return d.awaitVFs(ctx, n)
}

// awaitVFs waits until sriov_numvfs is n and all links exist. On some hosts 125 VFs take 65 s to
// appear.
func (d *Device) awaitVFs(ctx context.Context, n int) error {
	limit := 10*time.Second + time.Duration(n)*time.Second
	seen := 0
	err := sysfs.Poll(ctx, limit, "all VFs in sysfs", func() (bool, error) {
		enabled, err := d.NumVFs()
		if err != nil || enabled != n {
			return false, err
		}
		for seen < n && d.tree.Exists(fmt.Sprintf("%s/virtfn%d/vendor", d.Dir(), seen)) {
			seen++
		}
		return seen == n, nil
	})
	if err != nil {
		return &bench.HostError{
			Op: "enable " + prose.Count(n, "VF") + " of", Noun: string(d.Address),
			Err:    fmt.Errorf("only %d of them appeared: %w", seen, err),
			Advice: "see dmesg",
		}
	}
	return nil
}

// DisableVFs removes all VFs. It is not recorded: a host without VFs is the state that undo
// restores. While a process holds a VF the kernel would block, so DisableVFs refuses and names the
// process.
func (d *Device) DisableVFs(ctx context.Context) error {
	n, err := d.NumVFs()
	if err != nil || n == 0 {
		return err
	}
	for i := 1; i <= n; i++ {
		vf, err := d.VF(i)
		if err != nil {
			continue // half enabled, or being removed: no process can hold it
		}
		if h := vf.Holders(); len(h) > 0 {
			return &bench.HostError{
				Op: "disable VFs of", Noun: string(d.Address),
				Err:    fmt.Errorf("VF %s is in use by %s", vf.Address, h[0]),
				Advice: "stop the virtual machine or program that uses it",
			}
		}
	}
	return d.tree.Write(ctx, d.Dir()+"/sriov_numvfs", "0")
}

// VF returns VF number i (1 is the first). The VF must be enabled.
func (d *Device) VF(i int) (*Device, error) {
	link := fmt.Sprintf("%s/virtfn%d", d.Dir(), i-1)
	target, err := d.tree.FS.Readlink(link)
	if err != nil {
		return nil, sysfs.HostError("find VF", link, "", err)
	}
	a, err := Parse(path.Base(target))
	if err != nil {
		return nil, sysfs.HostError("find VF", link, "", err)
	}
	return At(d.tree, a), nil
}

// VFs returns all enabled VFs, in order.
func (d *Device) VFs() ([]*Device, error) {
	n, err := d.NumVFs()
	if err != nil {
		return nil, err
	}
	vfs := make([]*Device, n)
	for i := range vfs {
		if vfs[i], err = d.VF(i + 1); err != nil {
			return nil, err
		}
	}
	return vfs, nil
}

// VFIONodes returns the files through which user space can hold the device while a VFIO driver is
// bound. These are the group's file, and the device's own file if the kernel has it.
func (d *Device) VFIONodes() []string {
	var nodes []string
	if g, err := d.IOMMUGroup(); err == nil {
		nodes = append(nodes, fmt.Sprintf("/dev/vfio/%d", g))
	}
	// Missing on kernels that have group files only.
	entries, _ := d.tree.FS.ReadDir(d.Dir() + "/vfio-dev")
	for _, e := range entries {
		nodes = append(nodes, "/dev/vfio/devices/"+e.Name())
	}
	return nodes
}

// A Holder is a process that has a device open.
type Holder struct {
	PID  int
	Comm string
}

func (h Holder) String() string { return fmt.Sprintf("%s (pid %d)", h.Comm, h.PID) }

// Holders returns the processes that have one of the device's VFIO nodes open. Root also gets the
// processes of other users.
func (d *Device) Holders() []Holder {
	if !strings.Contains(d.Driver(), "vfio") {
		return nil
	}
	nodes := d.VFIONodes()
	procs, _ := d.tree.FS.ReadDir("/proc")
	var holders []Holder
	for _, p := range procs {
		pid, err := strconv.Atoi(p.Name())
		if err == nil && d.holds(pid, nodes) {
			// The process may have ended meanwhile.
			comm, _ := d.tree.Text(fmt.Sprintf("/proc/%d/comm", pid))
			holders = append(holders, Holder{pid, comm})
		}
	}
	return holders
}

func (d *Device) holds(pid int, nodes []string) bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, _ := d.tree.FS.ReadDir(dir) // processes come and go
	for _, fd := range fds {
		target, _ := d.tree.FS.Readlink(dir + "/" + fd.Name())
		for _, n := range nodes {
			if target == n {
				return true
			}
		}
	}
	return false
}
