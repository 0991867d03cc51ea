package vm

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"vmtb/bench/pci"
)

// Names of the sockets in a machine's private directory.
const (
	qmpSocket   = "qmp" // the monitor that this package holds
	agentSocket = "agent"

	PeopleSocket  = "monitor" // a second QMP monitor, free for people: a monitor talks to one client at a time
	ConsoleSocket = "console" // the first serial port: see [UserAccess.Console]
)

// agentPort is the id of the agent's virtio-serial port, the one that VSERPORT_CHANGE events name.
const agentPort = "agent-port"

// A Layout is where one run of a machine puts its things. Start makes one; with it a Spec becomes
// arguments.
type Layout struct {
	Accel    string   // value of -accel
	Sockets  string   // directory of the sockets, and of the file with the VNC password
	Console  string   // file, or pipe, for what the guest writes to its first serial port
	Firmware string   // image to boot with, "" for QEMU's own
	Overlays []string // for each disk its overlay, "" for a disk used as it is
	Incoming bool     // wait for another machine's state
	NoVFs    bool     // of the VFs only their root ports are there
}

// Args renders s as the arguments of QEMU, program first. It is a pure function: equal input, equal
// output, no look at the host. The machine starts stopped (-S), so that whoever runs it can
// subscribe to its events first.
func (s Spec) Args(l Layout) []string {
	s = s.withDefaults()
	a := argv{s.QEMU}
	a.add("-name", "guest="+s.Name)
	a.add("-nodefaults", "-no-user-config", "-S")
	a.add("-machine", s.Machine, "-accel", l.Accel, "-cpu", s.cpu(l.Accel))
	a.add("-smp", strconv.Itoa(s.CPUs), "-m", fmt.Sprintf("%dM", s.MemoryMiB))
	if l.Firmware != "" {
		// and no flash: a machine without block devices of its own is moved and saved as any other
		a.add("-bios", l.Firmware)
	}
	a.vnc(s.VNC, l)
	for _, d := range s.Devices { // first of all devices, as an IOMMU must be
		a.add("-device", d)
	}
	a.add("-action", "panic=pause", "-device", "pvpanic-pci") // a panicked guest stops where it is, to be looked at
	if s.NoReboot {
		a.add("-no-reboot")
	}
	if l.Incoming {
		a.add("-incoming", "defer")
	}
	a.channels(l, s.Serials)
	for i, d := range s.Disks {
		a.disk(i, d, l.Overlays[i])
	}
	if k := s.Kernel; k != nil {
		a.kernel(k)
	}
	a.network(s)
	for i, sh := range s.Shares {
		a.share(i, sh)
	}
	for i, v := range s.VFs {
		if s.pcie() {
			a.rootPort(vfPort(i), i+1, v.WindowMiB)
		}
		if !l.NoVFs {
			a.add("-device", s.vfDevice(i).String())
		}
	}
	for i := range s.SparePorts {
		a.rootPort(fmt.Sprintf("spare%d", i), len(s.VFs)+i+1, 0)
	}
	return append(a, s.Extra...)
}

func (s Spec) cpu(accel string) string {
	switch {
	case s.CPU != "":
		return s.CPU
	case strings.HasPrefix(accel, "kvm"):
		return "host"
	default:
		return "max"
	}
}

// argv collects arguments; each method adds what one part of a machine needs.
type argv []string

func (a *argv) add(args ...string) { *a = append(*a, args...) }

// channels adds the console, the monitors and the agent's port.
func (a *argv) channels(l Layout, serials int) {
	a.socket(l, ConsoleSocket, ",logfile="+value(l.Console)+",logappend=on")
	a.add("-serial", "chardev:"+ConsoleSocket)
	for i := range serials {
		id := fmt.Sprintf("serial%d", i+1)
		a.socket(l, id, "")
		a.add("-serial", "chardev:"+id)
	}
	for _, id := range []string{qmpSocket, PeopleSocket} {
		a.socket(l, id, "")
		a.add("-qmp", "chardev:"+id)
	}
	a.socket(l, agentSocket, "")
	a.add("-device", "virtio-serial-pci",
		"-device", "virtserialport,id="+agentPort+",chardev="+agentSocket+",name=org.qemu.guest_agent.0")
}

// socket adds a Unix socket. What is written while nobody is connected is dropped: nobody is waited
// for.
func (a *argv) socket(l Layout, id, opts string) {
	a.add("-chardev", "socket,id="+id+",path="+value(filepath.Join(l.Sockets, id))+",server=on,wait=off"+opts)
}

// disk adds an image as node "diskN". An overlay lives no longer than the run, so it need not be
// flushed to the disk.
func (a *argv) disk(i int, d Disk, overlay string) {
	format, file, opts := d.Format, d.Image, ""
	switch d.Access {
	case Overlay:
		format, file, opts = "qcow2", overlay, ",cache.no-flush=on,discard=unmap"
	case ReadOnly:
		opts = ",read-only=on"
	case Direct:
		opts = ",discard=unmap"
	}
	node := diskNode(i)
	a.add("-blockdev", "driver="+format+",node-name="+node+opts+",file.driver=file,file.filename="+value(file))
	model := "virtio-blk-pci"
	if d.Bus == "ide" {
		model = fmt.Sprintf("ide-hd,bus=ide.%d", i)
	}
	a.add("-device", fmt.Sprintf("%s,id=%s-dev,drive=%s,bootindex=%d", model, node, node, i+1))
}

func (a *argv) kernel(k *Kernel) {
	a.add("-kernel", k.Image)
	if k.Initrd != "" {
		a.add("-initrd", k.Initrd)
	}
	if k.Cmdline != "" {
		a.add("-append", k.Cmdline)
	}
}

func (a *argv) share(i int, s Share) {
	readOnly := ",readonly=on"
	if s.Writable {
		readOnly = ""
	}
	a.add("-fsdev", fmt.Sprintf(
		"local,id=share%d,path=%s,security_model=none,multidevs=remap%s", i, value(s.Path), readOnly,
	),
		"-device", fmt.Sprintf("virtio-9p-pci,fsdev=share%d,mount_tag=%s", i, value(s.Tag)))
}

// vfPort is the id of the n-th VF's root port.
func vfPort(n int) string { return fmt.Sprintf("vf%d-port", n) }

// vfDevice is the n-th VF. Below a root port of its own it sits as it does on a real board: that
// gives it a PCIe capability that drivers understand, and hot-plug.
func (s Spec) vfDevice(n int) device {
	key, host := hostDevice(s.VFs[n].Host)
	d := device{{"driver", "vfio-pci"}, {key, host}, {"id", fmt.Sprintf("vf%d", n)}}
	if s.pcie() {
		d = append(d, property{"bus", vfPort(n)})
	}
	if s.VFs[n].EnableMigration {
		d = append(d, property{"enable-migration", "on"})
	}
	return d
}

// A device is what QEMU is told of a device, its driver first.
type device []property

type property struct{ key, value string }

// String is d as the value of -device.
func (d device) String() string {
	options := []string{d[0].value}
	for _, p := range d[1:] {
		options = append(options, p.key+"="+value(p.value))
	}
	return strings.Join(options, ",")
}

// arguments is d as the arguments of QMP's device_add.
func (d device) arguments() map[string]any {
	args := map[string]any{}
	for _, p := range d {
		args[p.key] = p.value
	}
	return args
}

// hostDevice is how vfio-pci is told which device of the host to take. host= knows PCI domains up
// to ffff only; VMD and others have larger ones.
func hostDevice(address pci.Address) (key, value string) {
	if domain, _, _ := strings.Cut(string(address), ":"); len(domain) > 4 {
		return "sysfsdev", address.Dir()
	}
	return "host", string(address)
}

func (a *argv) rootPort(id string, slot, windowMiB int) {
	port := fmt.Sprintf("pcie-root-port,id=%s,chassis=%d,slot=%d", id, slot, slot)
	if windowMiB > 0 {
		port += fmt.Sprintf(",pref64-reserve=%dM", windowMiB)
	}
	a.add("-device", port)
}

// value writes s as a value in QEMU's key=value lists, where a comma is doubled.
func value(s string) string { return strings.ReplaceAll(s, ",", ",,") }

// diskNode is the name of the n-th disk's block node.
func diskNode(n int) string { return fmt.Sprintf("disk%d", n) }
