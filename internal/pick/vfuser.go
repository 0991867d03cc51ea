package pick

import (
	"bytes"
	"cmp"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/pci"
)

// A VFUser is the process that uses a VF.
type VFUser struct {
	VM      string `json:"vm"` // QEMU's -name; "" if there is none, and for other programs
	Program string `json:"program"`
	PID     int    `json:"pid"`
}

// String returns the name of the machine, or of the program, with its pid; "-" for nil.
func (u *VFUser) String() string {
	if u == nil {
		return "-"
	}
	return fmt.Sprintf("%s (pid %d)", cmp.Or(u.VM, u.Program), u.PID)
}

// UserOf returns the process that has a VF open, or nil. Only root may see which files a process
// has open. For other users, UserOf returns the process whose command line has the VF.
func UserOf(sys host.System, vf *pci.Device) *VFUser {
	if h := vf.Holders(); len(h) > 0 {
		return &VFUser{VM: machineName(argvOf(sys, h[0].PID)), Program: h[0].Comm, PID: h[0].PID}
	}
	if !strings.Contains(vf.Driver(), "vfio") {
		return nil
	}
	procs, _ := sys.ReadDir("/proc") // after an error no process is found
	for _, p := range procs {
		pid, err := strconv.Atoi(p.Name())
		if err != nil {
			continue
		}
		if _, err := sys.ReadDir(fmt.Sprintf("/proc/%d/fd", pid)); err == nil {
			continue // we could read its fd table, and it does not have the VF open
		}
		if argv := argvOf(sys, pid); assigns(argv, vf.Address) {
			return &VFUser{VM: machineName(argv), Program: filepath.Base(argv[0]), PID: pid}
		}
	}
	return nil
}

// CheckUnused returns an error if a process uses one of the VFs.
func CheckUnused(sys host.System, vfs ...*pci.Device) error {
	for _, vf := range vfs {
		if u := UserOf(sys, vf); u != nil {
			return &bench.HostError{
				Op: "change", Noun: string(vf.Address), Err: fmt.Errorf("the VF is in use by %s", u),
				Advice: "stop the virtual machine or program that uses it",
			}
		}
	}
	return nil
}

// argvOf returns the command line of a process, or nil if the process has ended.
func argvOf(sys host.System, pid int) []string {
	data, _ := sys.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	var argv []string
	for word := range bytes.SplitSeq(bytes.TrimSuffix(data, []byte{0}), []byte{0}) {
		argv = append(argv, string(word))
	}
	return argv
}

// assigns reports whether QEMU's arguments have a device: "-device vfio-pci,host=ADDRESS", or the
// same as JSON.
func assigns(argv []string, a pci.Address) bool {
	for _, arg := range argv {
		if strings.Contains(arg, "vfio-pci") && strings.Contains(arg, string(a)) {
			return true
		}
	}
	return false
}

// machineName returns the name in QEMU's arguments: "-name vm0,process=x" or "-name guest=vm0".
func machineName(argv []string) string {
	for i, arg := range argv[:max(0, len(argv)-1)] {
		if arg != "-name" && arg != "--name" {
			continue
		}
		for n, option := range strings.Split(argv[i+1], ",") {
			name, given := strings.CutPrefix(option, "guest=")
			if given || n == 0 && !strings.Contains(option, "=") {
				return name
			}
		}
	}
	return ""
}
