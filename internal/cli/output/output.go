package output

import (
	"encoding/json"
	"io"
	"time"

	"vmtb/bench/keep"
	"vmtb/bench/vm"
	"vmtb/bench/xe"
	"vmtb/flow"
	"vmtb/internal/doctor"
	"vmtb/internal/pick"
	"vmtb/lab"
)

// Version is increased when a field is removed, or gets another name, type or meaning. New fields
// do not increase it.
const Version = 1

// Print prints v as JSON: a value or a slice of one of the types here, or a machine's answer.
func Print(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// A Program is the output of "vmtb version".
type Program struct {
	Version string `json:"version"` // as git describes it
	JSON    int    `json:"json"`    // [Version]
}

// A Machine is an element of the output of "vmtb vm list" and "vmtb lab list".
type Machine struct {
	Name string `json:"name"`
	// "running", "paused", ...; "dead": the host is still changed.
	State     vm.State  `json:"state"`
	Reason    string    `json:"reason,omitempty"` // why it has ended
	Agent     bool      `json:"agent"`            // the guest's agent has its port open
	Image     string    `json:"image"`
	Kernel    string    `json:"kernel,omitempty"` // the release of the kernel of --kernel
	MemoryMiB int       `json:"memory_mib"`
	CPUs      int       `json:"cpus"`
	VFs       []string  `json:"vfs"` // PCI addresses on the host
	Started   time.Time `json:"started"`
	Ended     time.Time `json:"ended,omitzero"`
	Keeper    int       `json:"keeper_pid"`
	QEMU      int       `json:"qemu_pid,omitempty"`
	Accel     string    `json:"accel,omitempty"`
	VNC       string    `json:"vnc,omitempty"` // the address for a viewer on this host
	// "0.0.0.0:5900" means every address of this host.
	Listens  string `json:"vnc_listens,omitempty"`
	Password string `json:"vnc_password,omitempty"`
	SSHPort  int    `json:"ssh_port,omitempty"`
	Logs     string `json:"logs"` // folder
}

// MachineOf returns the JSON form of a machine's description.
func MachineOf(m keep.Info) Machine {
	s := m.State
	return Machine{
		Name: m.Name, State: s.State, Reason: m.Reason, Agent: s.Agent,
		Image: imageOf(m.Spec), Kernel: kernelOf(m.Spec),
		MemoryMiB: m.Spec.MemoryMiB, CPUs: m.Spec.CPUs, VFs: Addresses(m), Started: m.Started, Ended: m.Ended,
		Keeper: m.Keeper, QEMU: s.QEMU, Accel: s.Accel, VNC: s.VNC, Listens: s.VNCListens, Password: s.Password,
		SSHPort: s.SSHPort, Logs: s.Logs,
	}
}

// imageOf returns the image on a machine's first disk, or "" without a disk. Machines of flows may
// have none.
func imageOf(s vm.Spec) string {
	if len(s.Disks) == 0 {
		return ""
	}
	return s.Disks[0].Image
}

// kernelOf returns the release of the kernel that a machine boots instead of its image's, or "".
func kernelOf(s vm.Spec) string {
	if s.Kernel == nil {
		return ""
	}
	return s.Kernel.Release
}

// Addresses returns the PCI addresses of a machine's VFs.
func Addresses(m keep.Info) []string {
	list := []string{}
	for _, f := range m.Spec.VFs {
		list = append(list, string(f.Host))
	}
	return list
}

// A Snapshot is an element of the output of "vmtb vm snapshots".
type Snapshot struct {
	Tag  string    `json:"tag"`
	Time time.Time `json:"time"`
	Size int64     `json:"size"` // bytes
}

// A Screen is the output of "vmtb vm vnc".
type Screen struct {
	Address  string `json:"address"` // for a viewer on this host
	Listens  string `json:"listens"`
	Password string `json:"password"`
}

// A GPU is the output of "vmtb vf list" and "vmtb vf enable".
type GPU struct {
	*xe.Summary
	Functions []Function `json:"functions"`
}

// A Function is the PF or a VF.
type Function struct {
	xe.Function
	UsedBy *pick.VFUser `json:"used_by"`
}

// A Flow is an element of the output of "vmtb list" and "vmtb run --dry-run".
type Flow = flow.Item

// A Check is an element of the output of "vmtb doctor" and "vmtb image check".
type Check = doctor.Result

// Speed is the output of "vmtb lab speed".
type Speed = lab.Speed

// Images is the output of "vmtb lab build".
type Images = lab.Images
