package vm

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"vmtb/bench"
	"vmtb/bench/pci"
)

// A Spec describes a virtual machine. It needs a Name and something to boot; everything else has
// the default that its comment gives.
type Spec struct {
	Name    string // "vm0": letters, digits, "-", "_" and "."
	QEMU    string // program, "qemu-system-x86_64"
	Machine string // "q35"; "pc" is the Python tool's i440fx. Options may follow: "q35,kernel-irqchip=split"
	// "kvm" or "tcg", options may follow: "tcg,thread=single". "" is KVM where it works, see
	// [ProbeAccel]
	Accel     string
	CPU       string // model and flags; "host" with KVM, "max" without
	CPUs      int    // 1
	MemoryMiB int    // 4096, as the Python tool. With a VF all of it is pinned on the host

	Firmware Firmware `json:",omitempty"` // BIOS
	Disks    []Disk
	Kernel   *Kernel // boot this kernel directly, instead of the first disk
	// State is a file that [StateFiles.Save] has written. The machine goes on from it instead of
	// booting, and boots at its next start. It must be the machine that was saved, with disks that
	// hold what they held then, but that one was Unplugged: the VFs are plugged in before the guest
	// goes on.
	State string `json:",omitempty"`

	VFs        []VF
	Unplugged  bool    `json:",omitempty"` // of its VFs the machine has only the root ports
	SparePorts int     // empty PCIe root ports for hot-plug, named "spare0" and on (q35 only)
	Shares     []Share // directories of the host
	// serial ports besides the console, each a socket "serial1" and on in the private directory; at
	// most 3
	Serials     int
	UserNetwork bool     // QEMU's own NAT network, off by default: most machines need no network
	SSH         SSH      // off by default
	VNC         VNC      // off by default. The machine has no VGA card: a Device "VGA" gives it one
	NoReboot    bool     // a reset by the guest ends QEMU, so that a kernel with panic=-1 is seen to die
	Devices     []string // values of further -device arguments, put before all other devices, as an IOMMU must be
	Extra       []string // arguments put last, as they are
}

// A Disk is an image that the machine sees as a disk. The n-th disk is block node "diskN".
type Disk struct {
	Image  string
	Format string // "qcow2", "raw", ...; "" is to ask qemu-img
	Bus    string // "virtio"; "ide" is slow but needs no driver
	Access Access
}

// Access says what becomes of a machine's writes to a disk.
type Access int

// What becomes of the writes.
const (
	Overlay  Access = iota // they go to a qcow2 file of the run's own, which is deleted with it
	ReadOnly               // there are none
	Direct                 // they change the image
)

// A Kernel is booted by QEMU itself, without firmware's boot loader.
type Kernel struct {
	Image, Initrd, Cmdline string

	Release string `json:",omitempty"` // for users: "7.2.13+deb14-amd64"; "" if it is not known
}

// A VF is a PCI function of the host, bound to a VFIO driver, that the machine gets. The n-th VF is
// device "vfN", on q35 below a PCIe root port "vfN-port" of its own.
type VF struct {
	Host pci.Address // on the host
	// how much state its driver says it has, local memory above all: for deadlines and the space to
	// save it
	StateMiB int
	// the VF's driver is a vendor VFIO variant that can move its state; with plain vfio-pci QEMU
	// refuses to start
	EnableMigration bool
	// WindowMiB is how much 64-bit prefetchable address space firmware leaves below the VF's root
	// port, so that a VF can be plugged in later: see [pci.Device.VFWindow]. 0 leaves it to
	// firmware, which suits a VF that is there from the beginning.
	WindowMiB int `json:",omitempty"`
}

// SpecFor returns the machine that a configuration describes, which boots image. It has no name and
// no VFs.
func SpecFor(c bench.VMConfig, image string) Spec {
	s := Spec{
		QEMU: c.QEMU, Machine: c.Machine, Firmware: Firmware(c.Firmware), MemoryMiB: c.MemoryMiB, CPUs: c.CPUs,
		Disks: []Disk{{Image: image, Bus: c.DiskBus}}, Extra: c.ExtraArgs,
	}
	if b := c.Boot; b != nil {
		s.Kernel = &Kernel{Image: b.Image, Initrd: b.Initrd, Cmdline: b.Cmdline, Release: b.Release}
	}
	return s
}

// A Share is a directory of the host that the guest can mount: mount -t 9p -o trans=virtio Tag
// /mnt.
type Share struct {
	Tag, Path string
	Writable  bool
}

var (
	nameRE    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	addressRE = regexp.MustCompile(`^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$`)
)

// withDefaults fills in what was left open.
func (s Spec) withDefaults() Spec {
	for _, d := range []struct {
		field *string
		value string
	}{{&s.QEMU, "qemu-system-x86_64"}, {&s.Machine, "q35"}} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	if s.CPUs == 0 {
		s.CPUs = 1
	}
	if s.MemoryMiB == 0 {
		s.MemoryMiB = 4096
	}
	s.Disks = append([]Disk(nil), s.Disks...)
	for i := range s.Disks {
		if s.Disks[i].Bus == "" {
			s.Disks[i].Bus = "virtio"
		}
	}
	return s
}

// Validate reports, as a [bench.UsageError], everything in s that cannot work anywhere. It does not
// look at the host.
func (s Spec) Validate() error {
	s = s.withDefaults()
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(nameRE.MatchString(s.Name), "name %q: want letters, digits, '-', '_', '.'", s.Name)
	check(s.CPUs > 0, "%d CPUs: want 1 or more", s.CPUs)
	check(s.MemoryMiB > 0, "%d MiB of memory", s.MemoryMiB)
	check(len(s.Disks) > 0 || s.Kernel != nil, "it has neither a disk nor a kernel to boot")
	check(s.Kernel == nil || s.Kernel.Image != "", "the kernel has no image")
	check(s.Firmware.valid(), "firmware %q: want bios, uefi or an absolute path", s.Firmware)
	check(s.SparePorts == 0 || s.pcie(), "spare root ports need machine q35, not %s", s.Machine)
	check(s.Serials >= 0 && s.Serials <= 3, "%d further serial ports: want 3 at most", s.Serials)
	if err := s.VNC.validate(); err != nil {
		errs = append(errs, err)
	}
	check(s.SSH.Port >= 0 && s.SSH.Port <= 65535, "SSH port %d: want 0 to 65535", s.SSH.Port)
	for i, d := range s.Disks {
		check(d.Image != "", "disk%d has no image", i)
		check(d.Bus == "virtio" || d.Bus == "ide", "disk%d: bus %q: want virtio or ide", i, d.Bus)
		check(d.Bus != "ide" || d.Access != ReadOnly, "disk%d: an IDE disk cannot be read-only", i)
	}
	for i, v := range s.VFs {
		check(
			addressRE.MatchString(string(v.Host)), "vf%d: address %q: want a PCI address as in 0000:03:00.1", i, v.Host,
		)
	}
	for _, sh := range s.Shares {
		check(
			sh.Tag != "" && len(sh.Tag) < 32 && sh.Path != "", "share %q of %q: want a tag of 1 to 31 bytes and a path",
			sh.Tag, sh.Path,
		)
	}
	if len(errs) > 0 {
		return &bench.UsageError{Err: fmt.Errorf("machine %s: %w", s.Name, errors.Join(errs...))}
	}
	return nil
}

// checkFiles reports, as a [bench.UsageError], what s names on the host and is not there.
func (s Spec) checkFiles() error {
	var paths []string
	for _, d := range s.Disks {
		paths = append(paths, d.Image)
	}
	if k := s.Kernel; k != nil {
		paths = append(paths, k.Image)
		if k.Initrd != "" {
			paths = append(paths, k.Initrd)
		}
	}
	for _, sh := range s.Shares {
		paths = append(paths, sh.Path)
	}
	if s.State != "" {
		paths = append(paths, s.State)
	}
	var errs []error
	for _, p := range paths {
		if _, err := os.Stat(p); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return &bench.UsageError{Err: fmt.Errorf("machine %s: %w", s.Name, errors.Join(errs...))}
	}
	return nil
}

// pcie tells the machine types with PCI Express, where a VF belongs below a root port, from those
// without.
func (s Spec) pcie() bool {
	kind, _, _ := strings.Cut(s.Machine, ",")
	return kind == "q35" || strings.HasPrefix(kind, "pc-q35")
}
