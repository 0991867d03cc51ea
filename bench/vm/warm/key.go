package warm

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/bench/vm"
	"vmtb/internal/cache"
)

// recipe changes with what is done to a machine before its state is kept.
const recipe = "1"

// keyOf tells kept states apart that do not fit one another's machines. s.Accel is known.
func keyOf(s vm.Spec, o Options) (string, error) {
	parts := []any{recipe, o.Key, Hardware(s, s.Accel)}
	if err := vm.CheckFirmware(s.Firmware); err != nil {
		return "", err
	}
	made, err := files(s)
	if err != nil {
		return "", infra(err)
	}
	on, err := host()
	if err != nil {
		return "", infra(err)
	}
	return cache.Hash(append(parts, made, on)...)
}

func infra(err error) error {
	return &bench.InfraError{Op: "look for the state of a machine that has booted", Err: err}
}

// Hardware is what a guest sees of a machine like s, and nothing that differs between machines like
// it: QEMU's arguments.
func Hardware(s vm.Spec, accel string) string {
	s = template(s)
	s.Name = "name"
	s.VFs = slices.Clone(s.VFs)
	for i := range s.VFs {
		s.VFs[i] = vm.VF{WindowMiB: s.VFs[i].WindowMiB}
	}
	s.Shares = slices.Clone(s.Shares)
	for i := range s.Shares {
		s.Shares[i].Path = "path"
	}
	overlays := make([]string, len(s.Disks))
	for i, d := range s.Disks {
		if d.Access == vm.Overlay {
			overlays[i] = "overlay"
		}
	}
	args := s.Args(vm.Layout{
		Accel: accel, Sockets: "sockets", Console: "console", Firmware: string(s.Firmware), Overlays: overlays,
		NoVFs: true,
	})
	return bench.Command{Argv: args}.String()
}

// files identifies what a machine is made of.
func files(s vm.Spec) (string, error) {
	paths := []string{qemuOf(s)}
	for _, d := range s.Disks {
		paths = append(paths, d.Image)
	}
	if k := s.Kernel; k != nil {
		paths = append(paths, k.Image, k.Initrd)
	}
	firmware, err := s.Firmware.Files()
	if err != nil {
		return "", err
	}
	return fileIDs(append(paths, firmware...)...)
}

// qemuOf returns the name of the QEMU that runs s; that of a program which is not there is returned as it is.
func qemuOf(s vm.Spec) string {
	name := cmp.Or(s.QEMU, "qemu-system-x86_64")
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return name
}

// fileIDs tells files of the same names apart: by device, inode, size and time. Empty names are left out.
func fileIDs(paths ...string) (string, error) {
	var b strings.Builder
	for _, p := range paths {
		if p == "" {
			continue
		}
		p, err := filepath.Abs(p)
		if err == nil {
			p, err = filepath.EvalSymlinks(p)
		}
		if err != nil {
			return "", err
		}
		info, err := os.Stat(p)
		if err != nil {
			return "", err
		}
		st, _ := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(
			&b, "%s %d %d:%d %d.%d\n", p, info.Size(), st.Dev, st.Ino, info.ModTime().Unix(),
			info.ModTime().Nanosecond(),
		)
	}
	return b.String(), nil
}

// host identifies what a guest depends on of the host: its CPU, microcode and kernel.
func host() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", err
	}
	cpu, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "", err
	}
	parts := []string{unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Version[:])}
	for line := range strings.Lines(string(cpu)) {
		if strings.TrimSpace(line) == "" {
			break // the others are the same
		}
		if key, _, _ := strings.Cut(line, "\t"); key == "model name" || key == "flags" || key == "microcode" {
			parts = append(parts, line)
		}
	}
	return strings.Join(parts, "\n"), nil
}
