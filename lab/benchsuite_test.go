//go:build lab

package lab_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/internal/procfs"
	"vmtb/internal/prose"
	"vmtb/lab"
)

// TestBenchSuite is "make bench-suite". In one DUT and in turns, it measures the time of
// TestVmSetup with the Python tool, with vmtb, and with warm machines. It also measures the start
// of a machine with a VF until its driver is ready, cold and warm. VMTB_BENCH_ROUNDS is the number
// of rounds. VMTB_PEER is the directory of the Python tool; "" leaves the tool out. VMTB_BENCH_DIR
// is the directory for the table and the JSON.
func TestBenchSuite(t *testing.T) {
	given := os.Getenv("VMTB_BENCH_ROUNDS")
	if given == "" {
		t.Skip("make bench-suite")
	}
	rounds, err := strconv.Atoi(given)
	if err != nil || rounds < 1 {
		t.Fatalf("ROUNDS=%s: want 1 or more", given)
	}
	s := &benchSuite{Began: time.Now(), Rounds: rounds, peer: os.Getenv("VMTB_PEER")}
	build := lab.BuildOptions{}
	if s.peer != "" {
		if _, err := os.Stat(filepath.Join(s.peer, "vmm_flows/test_basic.py")); err != nil {
			t.Fatalf("PEER is not the directory of the Python tool: %v", err)
		}
		build.Packages = []string{"python3-pytest"}
	}
	s.dut = startWith(t, build, lab.Options{})
	s.program = s.dut.giveProgram(t)
	suites := []contestant{{Name: "vmtb", do: s.vmtb}, {Name: "vmtb --warm", do: s.warm}}
	if s.peer != "" {
		s.givePeer(t)
		suites = slices.Insert(suites, 0, contestant{Name: "Python tool", do: s.python})
	}
	s.Suites = suites
	s.Starts = []contestant{
		{Name: "vm start, modprobe xe", do: s.coldStart},
		{Name: "vm start --warm", do: s.warmStart},
	}
	s.measure(t)
	s.write(t)
}

// A benchSuite has the measured times. Its JSON is benchsuite.json.
type benchSuite struct {
	Began  time.Time    `json:"began"`
	Rounds int          `json:"rounds"`
	Suites []contestant `json:"test_vm_setup"`
	Starts []contestant `json:"machine_with_vf"`

	dut     *dut
	program string // path of vmtb in the DUT
	peer    string
}

// A contestant is one way to do something.
type contestant struct {
	Name    string    `json:"name"`
	Seconds []float64 `json:"seconds"`     // measured with this machine's clock
	CPU     []float64 `json:"cpu_seconds"` // of the DUT's QEMU

	do func(*testing.T)
}

// once runs the contestant once and records its times.
func (c *contestant) once(t *testing.T, d *dut) {
	cpu := func() float64 {
		stat, err := procfs.Read(d.PID())
		if err != nil {
			t.Fatal(err)
		}
		return stat.CPU().Seconds()
	}
	before, began := cpu(), time.Now()
	c.do(t)
	c.Seconds, c.CPU = append(c.Seconds, time.Since(began).Seconds()), append(c.CPU, cpu()-before)
	t.Logf("%s: %.1f s", c.Name, c.Seconds[len(c.Seconds)-1])
}

// measure runs the contestants in turns, so that other load on this machine affects all of them.
func (s *benchSuite) measure(t *testing.T) {
	for range s.Rounds {
		for i := range s.Suites {
			s.Suites[i].once(t, s.dut)
			s.dut.clean(t)
		}
	}
	s.dut.says(t, flow.ExitPass, "", "vf", "enable", "1")
	for range s.Rounds {
		for i := range s.Starts {
			s.Starts[i].once(t, s.dut)
			s.hasDriver(t)
			s.dut.says(t, flow.ExitPass, "", "vm", "kill", "gpu")
		}
	}
	s.dut.says(t, flow.ExitPass, "", "vf", "disable")
}

func (s *benchSuite) vmtb(t *testing.T) { s.testVMSetup(t) }

func (s *benchSuite) warm(t *testing.T) { s.testVMSetup(t, "--warm") }

func (s *benchSuite) testVMSetup(t *testing.T, flags ...string) {
	code, dir, err := s.dut.run(t.Context(), append(flags, "test_basic::TestVmSetup")...)
	if err != nil || code != flow.ExitPass {
		t.Fatalf("exit code %d, %v", code, err)
	}
	if got := results(t, dir); len(got) != testVMSetups {
		t.Fatalf("%d results, want %d", len(got), testVMSetups)
	}
}

// testVMSetups is the number of ids in TestVmSetup.
const testVMSetups = 3

// coldStart and warmStart return when the VF's driver is ready in the guest. A booted guest has to
// load it. A warm guest has it when "vm start" returns.
func (s *benchSuite) coldStart(t *testing.T) {
	s.start(t)
	s.must(t, s.program, "vm", "exec", "gpu", "modprobe", "xe")
}

func (s *benchSuite) warmStart(t *testing.T) { s.start(t, "--warm") }

func (s *benchSuite) start(t *testing.T, flags ...string) {
	s.must(t, append([]string{
		s.program, "vm", "start", "--vm-image=" + lab.GuestImage, "--vm-memory=" + strconv.Itoa(s.dut.memory),
		"--timeout-scale=5", "--vf=1", "gpu",
	}, flags...)...)
}

// hasDriver fails the test unless the guest's xe has probed the VF.
func (s *benchSuite) hasDriver(t *testing.T) {
	s.must(t, s.program, "vm", "exec", "gpu", "--", "sh", "-c", "ls -d /sys/bus/pci/drivers/xe/*:*/drm")
}

func (s *benchSuite) must(t *testing.T, argv ...string) string {
	t.Helper()
	c := bench.Command{Argv: argv}
	r, err := s.dut.Exec(t.Context(), c)
	if err == nil {
		err = r.Err(c)
	}
	if err != nil {
		t.Fatalf("%v\n%s%s", err, r.Stdout, r.Stderr)
	}
	return string(r.Stdout)
}

// peerDir is the directory of the Python tool in the DUT's share, and wrapDir that of its QEMU
// wrapper.
const peerDir, wrapDir = "python-tool", "wrap"

// givePeer copies the unchanged Python tool into the DUT. Its machines have 4096 MiB, more than the
// DUT. So a QEMU wrapper gives them the memory of the lab's guests.
func (s *benchSuite) givePeer(t *testing.T) {
	t.Helper()
	wrapper := fmt.Sprintf(`#!/bin/bash
args=("$@")
for i in "${!args[@]}"; do
	case ${args[i]} in -m) args[i+1]=%d ;; esac
done
exec /usr/bin/qemu-system-x86_64 "${args[@]}"
`, s.dut.memory)
	wrap := filepath.Join(s.dut.dir, wrapDir)
	err := errors.Join(
		os.CopyFS(filepath.Join(s.dut.dir, peerDir), os.DirFS(s.peer)), os.MkdirAll(wrap, 0o700),
		os.WriteFile(filepath.Join(wrap, "qemu-system-x86_64"), []byte(wrapper), 0o700),
	)
	if err != nil {
		t.Fatal(err)
	}
	// The tool's configuration expects IGT in /usr/local.
	s.must(t, "sh", "-ec", `mkdir -p /usr/local/libexec
ln -sfn /usr/libexec/igt-gpu-tools /usr/local/libexec/
ln -sf /usr/bin/igt_runner /usr/local/bin/`)
}

// python runs the Python tool's TestVmSetup.
func (s *benchSuite) python(t *testing.T) {
	const script = `cd "$1"
export PATH="$2:$PATH"
python3 -m pytest -p no:cacheprovider -q vmm_flows/test_basic.py -k TestVmSetup --vm-image="$3"`
	tool, wrap := filepath.Join(s.dut.dir, peerDir), filepath.Join(s.dut.dir, wrapDir)
	said := s.must(t, "sh", "-ec", script, "sh", tool, wrap, lab.GuestImage)
	if want := fmt.Sprintf("%d passed", testVMSetups); !strings.Contains(said, want) {
		t.Fatalf("pytest does not say %q:\n%s", want, said)
	}
}

// write writes the table and the JSON.
func (s *benchSuite) write(t *testing.T) {
	dir := os.Getenv("VMTB_BENCH_DIR")
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	fmt.Fprintf(&table, "%s, %s, in turns in one DUT; seconds by the clock of the machine it runs on\n\n",
		s.Began.Format(time.DateOnly), prose.Count(s.Rounds, "round"))
	printContestants(&table, "test_basic::TestVmSetup", s.Suites)
	printContestants(&table, "a machine with a VF, until its driver is there", s.Starts)
	err = errors.Join(
		os.MkdirAll(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "benchsuite.json"), append(data, '\n'), 0o644),
		os.WriteFile(filepath.Join(dir, "benchsuite.txt"), []byte(table.String()), 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s\n%s", dir, table.String())
}

// printContestants prints a table that compares each contestant with the first one.
func printContestants(w io.Writer, title string, all []contestant) {
	const format = "| %-48s | %-24s | %-24s | %-9s |\n"
	fmt.Fprintf(w, format, title, "median (least to most)", "CPU time of DUT's QEMU", "of first")
	line := func(n int) string { return strings.Repeat("-", n) }
	fmt.Fprintf(w, "|%s|%s|%s|%s|\n", line(50), line(26), line(26), line(11))
	for _, c := range all {
		ratio := lab.Median(c.Seconds) / lab.Median(all[0].Seconds)
		fmt.Fprintf(w, format, c.Name, spread(c.Seconds), spread(c.CPU), fmt.Sprintf("%.2f", ratio))
	}
	fmt.Fprintln(w)
}

func spread(values []float64) string {
	return fmt.Sprintf("%.1f s (%.1f to %.1f)", lab.Median(values), slices.Min(values), slices.Max(values))
}
