package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/undo"
	"vmtb/bench/vm"
	"vmtb/flow"
	"vmtb/internal/fake/fakehost"
	"vmtb/internal/hoststate"
)

// An answers is a fake host with given outputs of programs, by name, and given contents of files.
type answers struct {
	*fakehost.Host
	programs, files map[string]string
	missing         string // a program that does not exist
}

func (a answers) Exec(ctx context.Context, c bench.Command) (bench.Result, error) {
	if c.Argv[0] == a.missing {
		return bench.Result{}, exec.ErrNotFound
	}
	if out, ok := a.programs[filepath.Base(c.Argv[0])]; ok {
		return bench.Result{Stdout: []byte(out)}, nil
	}
	return a.Host.Exec(ctx, c)
}

func (a answers) ReadFile(p string) ([]byte, error) {
	if text, ok := a.files[p]; ok {
		return []byte(text), nil
	}
	return a.Host.ReadFile(p)
}

func (a answers) Stat(p string) (fs.FileInfo, error) {
	if _, ok := a.files[p]; ok {
		return nil, nil //nolint:nilnil // callers only check that it exists
	}
	return a.Host.Stat(p)
}

// sound returns a machine on which all checks pass.
func sound(o fakehost.Options) answers {
	o.Loaded = []string{"xe"}
	return answers{Host: fakehost.New(o), programs: map[string]string{
		"qemu-system-x86_64": "QEMU emulator version 10.0.2\n", "qemu-img": "qemu-img version 10.0.2\n",
		"dmesg": "[    1.0] hello\n",
	}, files: map[string]string{
		"/usr/local/bin/igt_runner": "", "/usr/local/libexec/igt-gpu-tools/xe_exec_store": "",
		"/proc/self/status": "CapEff:\t000001ffffffffff\n",
	}}
}

// A missing thing shows in the line of its check, with the remedy. Otherwise it shows only in
// checks that depend on it.
func TestDoctor(t *testing.T) {
	const pf = "/sys/bus/pci/devices/0000:03:00.0"
	bmg := fakehost.BMG
	without := func(modules ...string) fakehost.Options {
		o := bmg()
		for _, m := range modules {
			delete(o.Modules, m)
		}
		return o
	}
	for _, tt := range []struct {
		name   string
		host   func(t *testing.T) answers
		change func(p *Target)
		check  string // the check that is not OK
		status Status
		says   string // what is found, and the remedy
	}{
		{name: "sound"},
		{name: "no root", change: func(p *Target) { p.euid = 1000 }, check: "root", status: Bad, says: "sudo"},
		{
			name:  "no IOMMU",
			host:  func(*testing.T) answers { o := bmg(); o.NoIOMMU, o.Cmdline = true, ""; return sound(o) },
			check: "iommu", status: Bad, says: "intel_iommu=on",
		},
		{
			name: "driver not loaded",
			host: func(*testing.T) answers { a := sound(bmg()); a.Host = fakehost.New(bmg()); return a }, check: "pf",
			status: Warn, says: "modprobe xe",
		},
		{
			name:  "no driver",
			host:  func(*testing.T) answers { a := sound(bmg()); a.Host = fakehost.New(without("xe")); return a },
			check: "pf", status: Bad, says: "CONFIG_DRM_XE",
		},
		{
			name: "no such card", change: func(p *Target) { n := 7; p.Config.Host.CardIndex = &n }, check: "pf",
			status: Bad, says: "card",
		},
		{
			name:  "no VFs",
			host:  func(*testing.T) answers { a := sound(bmg()); a.files[pf+"/sriov_totalvfs"] = "0\n"; return a },
			check: "pf", status: Bad, says: "max_vfs must not be 0",
		},
		{name: "VFs left enabled", host: func(t *testing.T) answers {
			a := sound(bmg())
			if err := a.WriteFile(pf+"/sriov_numvfs", []byte("2")); err != nil {
				t.Fatal(err)
			}
			return a
		}, check: "vfs", status: Bad, says: "vmtb vf disable"},
		{name: "no room", host: func(*testing.T) answers {
			a := sound(bmg())
			a.files[pf+"/resource"] = strings.Repeat("0x0000000000000000 0x0000000000000000 0x0000000000000000\n", 13)
			return a
		}, check: "mmio", status: Bad, says: "4G decoding"},
		{
			name: "generic VFIO", host: func(*testing.T) answers { return sound(without("xe_vfio_pci")) },
			check: "vfio", status: Warn,
			says: "of a kernel with CONFIG_XE_VFIO_PCI (Linux 6.19 or newer; Debian's kernels are built without it",
		},
		{
			name: "no VFIO", host: func(*testing.T) answers { return sound(without("xe_vfio_pci", "vfio_pci")) },
			check: "vfio", status: Bad, says: "CONFIG_VFIO_PCI",
		},
		{
			name: "no modprobe", host: func(*testing.T) answers { a := sound(bmg()); a.missing = "modprobe"; return a },
			check: "vfio", status: Bad, says: "install kmod",
		},
		{
			name:  "no QEMU",
			host:  func(*testing.T) answers { a := sound(bmg()); delete(a.programs, "qemu-system-x86_64"); return a },
			check: "qemu", status: Bad, says: "does not run",
		},
		{name: "old QEMU", host: func(*testing.T) answers {
			a := sound(bmg())
			a.programs["qemu-system-x86_64"] = "QEMU emulator version 7.2.11 (Debian)\n"
			return a
		}, check: "qemu", status: Bad, says: "too old"},
		{name: "no KVM", change: func(p *Target) {
			p.accel = func(context.Context) (vm.Accel, error) {
				return vm.Accel{Name: "tcg", Reason: "no such device"}, nil
			}
		}, check: "kvm", status: Warn, says: "no such device"},
		{
			name: "no image", change: func(p *Target) { p.Config.Guest.OSImage = "/none" }, check: "image", status: Bad,
			says: "--vm-image",
		},
		{name: "no disk image", change: func(p *Target) {
			p.inspect = func(context.Context, string, vm.Firmware) (vm.ImageInfo, error) {
				return vm.ImageInfo{}, &bench.UsageError{Err: errors.New("not a disk image"), Advice: "is it one?"}
			}
		}, check: "image", status: Bad, says: "not a disk imageis it one?"},
		{
			name: "no IGT",
			host: func(*testing.T) answers {
				a := sound(bmg())
				delete(a.files, "/usr/local/bin/igt_runner")
				return a
			},
			check: "igt", status: Warn, says: "igt_runner",
		},
		{name: "bad kernel log", host: func(*testing.T) answers {
			a := sound(bmg())
			a.programs["dmesg"] = "[    1.000000] hello\n[    2.000000] BUG: unable to handle page fault for " +
				"address: 0\n"
			return a
		}, check: "kernel log", status: Warn, says: "page fault"},
		{name: "bad kernel log with callers", host: func(*testing.T) answers {
			a := sound(bmg())
			a.programs["dmesg"] = "[    1.000000] [      T1] hello\n[    2.000000] [     T12] BUG: unable to handle " +
				"page fault for address: 0\n"
			return a
		}, check: "kernel log", status: Warn, says: "rule oops"},
		{name: "bad kernel log with dates", host: func(*testing.T) answers {
			a := sound(bmg())
			a.programs["dmesg"] = "[Tue Aug 26 16:31:20 2025] BUG kmalloc-512 (Not tainted): Poison overwritten\n"
			return a
		}, check: "kernel log", status: Warn, says: "rule oops"},
		{
			name: "soft lockup",
			host: func(*testing.T) answers {
				a := sound(bmg())
				a.files["/proc/sys/kernel/tainted"] = "16384\n"
				return a
			},
			check: "kernel log", status: Warn, says: "tainted: 16384",
		},
		{
			name: "bad page",
			host: func(*testing.T) answers {
				a := sound(bmg())
				a.files["/proc/sys/kernel/tainted"] = "32\n"
				return a
			},
			check: "kernel log", status: Warn, says: "bad page",
		},
		{
			name: "tainted",
			host: func(*testing.T) answers {
				a := sound(bmg())
				a.files["/proc/sys/kernel/tainted"] = "512\n"
				return a
			},
			check: "kernel log", status: Warn, says: "tainted: 512",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := sound(bmg())
			if tt.host != nil {
				a = tt.host(t)
			}
			found, bad := examined(t, a, tt.change)
			for _, d := range found {
				switch {
				case d.Check == tt.check:
					if d.Status != tt.status || !strings.Contains(d.Found+d.Remedy, tt.says) {
						t.Errorf("%+v, want %s with %q", d, tt.status, tt.says)
					}
				case d.Status == Warn && follows[d.Check] && (tt.check == "root" || tt.check == "qemu"):
				case d.Status != OK && d.Status != Skipped:
					t.Errorf("%+v", d)
				}
			}
			if bad != (tt.status == Bad) {
				t.Errorf("bad: %v, want %v", bad, !bad)
			}
		})
	}
}

// A driver from outside the kernel is named with its file, because the kernel's version does not
// tell its abilities.
func TestDoctorDKMS(t *testing.T) {
	for file, want := range map[string]string{
		"/lib/modules/6.12.0/updates/dkms/xe.ko.zst": "driven by xe from outside the kernel " +
			"(/lib/modules/6.12.0/updates/dkms/xe.ko.zst)",
		"/lib/modules/6.12.0/extra/xe.ko": "driven by xe from outside the kernel " +
			"(/lib/modules/6.12.0/extra/xe.ko)",
		"/lib/modules/7.3.4/kernel/drivers/xe.ko": "driven by xe",
	} {
		a := sound(fakehost.BMG())
		a.programs["modinfo"] = file + "\n"
		found, _ := examined(t, a, nil)
		i := slices.IndexFunc(found, func(d Result) bool { return d.Check == "pf" })
		if i < 0 || found[i].Status != OK || !strings.HasSuffix(found[i].Found, want) {
			t.Errorf("%s: %+v", file, found)
		}
	}
}

// follows has the checks that sum up others.
var follows = map[string]bool{"vm": true, "lab": true, "image build": true}

// examined returns the results on a host, and checks that the text has the same as the JSON.
func examined(t *testing.T, sys host.System, change func(*Target)) (found []Result, bad bool) {
	t.Helper()
	dir := t.TempDir()
	config := bench.DefaultConfig()
	config.Guest.OSImage = filepath.Join(dir, "image")
	if err := os.WriteFile(config.Guest.OSImage, []byte("an image"), 0o600); err != nil {
		t.Fatal(err)
	}
	target := &Target{
		Options: Options{
			Config: config, State: hoststate.In(filepath.Join(dir, "vmtb.lock"), dir), Warnings: t.Output(),
		},
		host:    host.New(sys), // the test's Target is root
		accel:   func(context.Context) (vm.Accel, error) { return vm.Accel{Name: "kvm"}, nil },
		missing: func(context.Context) []error { return nil },
		inspect: func(context.Context, string, vm.Firmware) (vm.ImageInfo, error) {
			return vm.ImageInfo{Format: "qcow2", Size: 4 << 30}, nil
		},
	}
	if change != nil {
		change(target)
	}
	all, err := target.CheckHost(t.Context(), func(Result) {})
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &found); err != nil || len(found) != len(hostChecks)+1 {
		t.Fatalf("%v in\n%s", err, data)
	}
	last := found[len(hostChecks)]
	found = found[:len(hostChecks)]
	var out bytes.Buffer
	again, err := target.CheckHost(t.Context(), func(r Result) { r.Print(&out) })
	if err != nil || AnyBad(again) != AnyBad(all) || strings.Count(out.String(), "\n") < len(hostChecks) {
		t.Errorf("%v: bad %v for people, %v for programs:\n%s", err, AnyBad(again), AnyBad(all), out.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if lines[len(lines)-1] != last.Found || last != withName(count(found), countCheck) {
		t.Errorf("%+v, and the last line is %q", last, lines[len(lines)-1])
	}
	return found, AnyBad(all)
}

func withName(d Result, name string) Result { d.Check = name; return d }

// On a machine without an Intel GPU, the first line reports this, and no remedy is about a GPU. The
// list has the commands that still work.
func TestDoctorWithoutGPU(t *testing.T) {
	a := sound(fakehost.BMG())
	a.files["/sys/bus/pci/devices/0000:03:00.0/vendor"] = "0x1002\n"
	a.missing = "modprobe"
	found, bad := examined(t, a, func(p *Target) {
		p.missing = func(context.Context) []error {
			return []error{
				&bench.InfraError{Op: "find mmdebstrap", Err: exec.ErrNotFound, Advice: "apt install mmdebstrap"},
			}
		}
	})
	if !bad || found[0].Found != "this machine has no Intel GPU" || !strings.Contains(found[0].Remedy, "vmtb lab run") {
		t.Errorf("bad: %v, first %+v", bad, found[0])
	}
	byName := map[string]Result{}
	for _, d := range found {
		byName[d.Check] = d
		if strings.Contains(d.Remedy, "kmod") || gpuChecks[d.Check] && d.Status != Skipped {
			t.Errorf("%+v", d)
		}
	}
	for name, want := range map[string]Status{"vm": OK, "lab": Warn, "image build": Warn} {
		if d := byName[name]; d.Status != want || want == Warn && d.Remedy != "apt install mmdebstrap" {
			t.Errorf("%+v, want %s", d, want)
		}
	}
	if got := count(found).Found; got != "1 bad, 2 warnings" {
		t.Errorf("count %q", got)
	}
}

// The doctor reports the changes that a dead run left on the host.
func TestDoctorLeftovers(t *testing.T) {
	dead := t.TempDir()
	found, bad := examined(t, sound(fakehost.BMG()), func(p *Target) {
		journal := filepath.Join(dead, flow.UndoFile)
		log, err := undo.Open(journal)
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(log.Add(undo.Path{Path: "/var/tmp/left"}), log.Close(), p.State.Runs.Enter(journal))
		if err != nil {
			t.Fatal(err)
		}
	})
	for _, d := range found {
		if d.Check == "leftovers" && (d.Status != Bad || !strings.Contains(d.Remedy, "vmtb recover")) || !bad {
			t.Errorf("%+v, bad: %v", d, bad)
		}
	}
}
