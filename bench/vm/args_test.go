package vm

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vmtb/bench"
)

var update = flag.Bool("update", false, "write the golden files and docs")

// specs are the machines whose command lines are in testdata/NAME.argv, one argument per line.
var specs = map[string]struct {
	spec   Spec
	layout Layout
}{
	"defaults": {
		Spec{Name: "vm0", Disks: []Disk{{Image: "/images/guest.img", Format: "raw"}}},
		Layout{Accel: "kvm", Overlays: []string{"/var/tmp/vmtb-x/disk0.qcow2"}},
	},
	"upstream": { // the Python tool's machine
		Spec{
			Name: "vm1", Machine: "pc", CPU: "host", VNC: VNC{Mode: VNCOpen, Display: 1},
			SSH:   SSH{Forward: true, Port: 10001},
			Disks: []Disk{{Image: "/images/guest.img", Format: "raw", Bus: "ide"}},
			VFs:   []VF{{Host: "0000:03:00.1", EnableMigration: true}},
		},
		Layout{Accel: "kvm", Overlays: []string{"/var/tmp/vmtb-x/disk0.qcow2"}},
	},
	"vfs": {
		Spec{
			Name: "vm0", MemoryMiB: 8192, CPUs: 4, SparePorts: 2,
			Disks: []Disk{{Image: "/images/guest.qcow2", Format: "qcow2"}},
			VFs:   []VF{{Host: "0000:03:00.1", EnableMigration: true}, {Host: "0000:03:00.2"}},
		},
		Layout{Accel: "tcg", Overlays: []string{"/var/tmp/vmtb-x/disk0.qcow2"}},
	},
	"access": { // every way in for users
		Spec{
			Name: "vm2", Disks: []Disk{{Image: "/images/guest.img", Format: "raw", Access: ReadOnly}},
			VNC: VNC{Mode: VNCOn, Display: 2}, SSH: SSH{Forward: true}, UserNetwork: true,
		},
		Layout{Accel: "kvm", Overlays: []string{""}},
	},
	"local": {
		Spec{
			Name: "vm3", Disks: []Disk{{Image: "/images/guest.img", Format: "raw", Access: ReadOnly}},
			VNC: VNC{Mode: VNCLocal},
		},
		Layout{Accel: "kvm", Overlays: []string{""}},
	},
	"lab": { // the lab's machine under test
		Spec{
			Name: "dut", QEMU: "/opt/qemu", Machine: "q35,kernel-irqchip=split", Accel: "tcg,thread=single",
			CPU: "EPYC,+svm", NoReboot: true, Serials: 1,
			Kernel: &Kernel{Image: "/lab/vmlinuz", Initrd: "/lab/initrd", Cmdline: "console=ttyS0 root=/dev/vda rw"},
			Disks: []Disk{
				{Image: "/lab/dut.img", Format: "raw"},
				{Image: "/lab/a,b.img", Format: "raw", Access: ReadOnly},
				{Image: "/lab/out.img", Format: "raw", Access: Direct},
			},
			Shares:  []Share{{Tag: "bin", Path: "/work/bin"}, {Tag: "out", Path: "/work/out,1", Writable: true}},
			Devices: []string{"intel-iommu,intremap=on,caching-mode=on", "pcie-root-port,id=rp,slot=9", "igb,bus=rp"},
			Extra:   []string{"-global", "x.y=z"},
		},
		Layout{Accel: "tcg,thread=single", Overlays: []string{"/var/tmp/vmtb-x/disk0.qcow2", "", ""}},
	},
}

func TestArgs(t *testing.T) {
	for name, c := range specs {
		t.Run(name, func(t *testing.T) {
			c.layout.Sockets, c.layout.Console = "/run/vmtb/abcdefgh", "/results/"+c.spec.Name+"/console.log"
			if err := c.spec.Validate(); err != nil {
				t.Fatal(err)
			}
			got := strings.Join(c.spec.Args(c.layout), "\n") + "\n"
			file := filepath.Join("testdata", name+".argv")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestArgsDoesNotChangeTheSpec(t *testing.T) {
	s := Spec{Name: "vm0", Disks: []Disk{{Image: "/a", Format: "raw"}}}
	s.Args(Layout{Accel: "kvm", Overlays: []string{"/b"}})
	if diff := cmp.Diff(Spec{Name: "vm0", Disks: []Disk{{Image: "/a", Format: "raw"}}}, s); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestValidate(t *testing.T) {
	disk := []Disk{{Image: "x"}}
	for want, s := range map[string]Spec{
		"name":                        {Name: "a b", Disks: disk},
		"neither a disk nor a kernel": {Name: "vm0"},
		"has no image":                {Name: "vm0", Disks: []Disk{{}}},
		"virtio or ide":               {Name: "vm0", Disks: []Disk{{Image: "x", Bus: "scsi"}}},
		"cannot be read-only":         {Name: "vm0", Disks: []Disk{{Image: "x", Bus: "ide", Access: ReadOnly}}},
		"CPUs":                        {Name: "vm0", Disks: disk, CPUs: -1},
		"MiB":                         {Name: "vm0", Disks: disk, MemoryMiB: -1},
		"the kernel has no image":     {Name: "vm0", Kernel: &Kernel{}},
		"need machine q35":            {Name: "vm0", Disks: disk, Machine: "pc", SparePorts: 1},
		"vf0: address":                {Name: "vm0", Disks: disk, VFs: []VF{{}}},
		"want a tag":                  {Name: "vm0", Disks: disk, Shares: []Share{{Path: "/x"}}},
		"VNC mode":                    {Name: "vm0", Disks: disk, VNC: VNC{Mode: "loud"}},
		"VNC display":                 {Name: "vm0", Disks: disk, VNC: VNC{Mode: VNCOn, Display: -1}},
		"SSH port":                    {Name: "vm0", Disks: disk, SSH: SSH{Forward: true, Port: 65536}},
		"further serial ports:":       {Name: "vm0", Disks: disk, Serials: 4},
	} {
		err := s.Validate()
		if usage := new(bench.UsageError); !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate = %v, want a UsageError with %q", err, want)
		}
	}
}
