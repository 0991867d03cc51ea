package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vmtb/flow"
)

// A sample is a run directory that tests make.
type sample struct {
	name  string
	tape  *tape
	files map[string]string // beside run.json and journal.jsonl
	torn  string            // a last line of the journal that a crash cut off
}

// open writes the run directory, and reads it as a report's caller does.
func (s sample) open(t testing.TB) *flow.RunDir {
	t.Helper()
	dir := filepath.Join(t.TempDir(), s.name)
	put := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	info, err := json.Marshal(s.tape.info)
	if err != nil {
		t.Fatal(err)
	}
	put("run.json", string(info))
	var journal bytes.Buffer
	enc := json.NewEncoder(&journal)
	for _, e := range s.tape.entries {
		if err := enc.Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	put("journal.jsonl", journal.String()+s.torn)
	for name, text := range s.files {
		put(name, text)
	}
	run, err := flow.OpenRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// samples are runs with everything in them that a report has to tell.
func samples() []sample {
	return []sample{
		passedRun(), mixedRun(),
		{name: "interrupted", tape: interrupted()},
		{name: "killed", tape: killed(), torn: `{"seq":7,"ti`},
		{name: "empty", tape: newTape()},
		resumedRun(),
	}
}

// odd is what a guest may write: invalid UTF-8, control characters, commands for a terminal, markup, a direction override.
const odd = "bad \xff\xfe bytes \x00\x00\x00 \x1b[31mred\x1b[0m \x1b]0;title\x07 bell \x07 <b>&\"'</b> ]]> \u202eabc\u2028 \ufffe # x"

func machineFiles(dir string) map[string]string {
	at := "2026-04-01T12:00:"
	qmp := `{"t":"` + at + `01.5Z","dir":"in","line":{"QMP":{}}}
{"t":"` + at + `03Z","dir":"in","line":{"event":"RESUME","timestamp":{}}}
not json
{"t":"` + at + `20Z","dir":"in","line":{"event":"STOP"}}
{"t":"` + at + `24Z","dir":"in","line":{"event":"RESUME"}}
{"t":"` + at + `36Z","dir":"in","line":{"event":"GUEST_PANICKED"}}
{"t":"` + at + `39Z","dir":"in","line":{"event":"SHUTDOWN"}}
{"t":"` + at + `40Z","dir":"in","line":{"return":{}}}
`
	return map[string]string{
		dir + "/argv":        "qemu-system-x86_64 -name 'guest=vm0 -x' -S -machine q35 -m 256M -chardev socket,id=qmp,path=/run/vmtb/abc/qmp,server=on -blockdev driver=qcow2,file.driver=file,file.filename=/var/tmp/vmtb-1/disk0.qcow2 -device vfio-pci,host=0000:01:10.0\n",
		dir + "/console.log": "\r\nLinux version 6.12\r\n[    1.000000] xe 0000:01:00.0: [drm] VF\r\n[    2.5] BUG: unable to handle page fault " + odd + "\r\n~ # \x1b[6n",
		dir + "/qmp.jsonl":   qmp,
		dir + "/qga.jsonl":   `{"t":"` + at + `02Z","dir":"out","line":"\ufffd{}"}` + "\n",
		dir + "/stderr.log":  "",
	}
}

func passedRun() sample {
	t := passes()
	t.plan("01-x/test_vm_boot", "02-x/test_vm_boot")
	t.info.Argv = []string{"vmtb", "run", "-v", "test_basic::TestVmSetup::test_vm_boot[1VF]"}
	t.info.Environment = []flow.Fact{{Name: "uname", Value: "Linux dut 6.19.0 #1 SMP PREEMPT_DYNAMIC x86_64"}, {Name: "qemu", Value: "10.0.13"}}
	t.info.Config = json.RawMessage(`{"guest":{"os_image":"/lab/guest.img"},"ci":{"kcidb_origin":"mylab","kcidb_build_id":"maestro:66f"}}`)
	for i := range t.entries {
		if e := &t.entries[i]; e.Phase == flow.PhaseSetUp || e.Phase == flow.PhaseRestore {
			e.Dir = map[bool]string{true: "01-x", false: "02-x"}[strings.HasPrefix(e.ID.Param, "1VF")] + "/fixture-1"
		}
	}
	return sample{name: "pass", tape: t, files: machineFiles("01-x/fixture-1/vm0")}
}

// plan gives the planned cases their folders.
func (t *tape) plan(dirs ...string) {
	for i := range t.info.Plan {
		t.info.Plan[i].Dir = dirs[i]
		t.info.Plan[i].Doc = "The driver has bound the VF in every machine."
		t.info.Plan[i].ClassDoc = "Enable VFs, boot machines, load the driver."
	}
}

// mixedRun has every result, attempts, messages of kernels, and bytes of all kinds.
func mixedRun() sample {
	mig := func(class, name, param string) flow.ID {
		return flow.ID{File: "test_migration", Class: class, Case: name, Param: param}
	}
	const auto = "1VF-(P:AUTO S:DEFAULT_PROFILE)"
	ids := []flow.ID{
		boot("1VF-" + profile), boot("2VF-" + profile), boot("4VF-" + profile), boot("2VF-(P:AUTO S:INFINITE)"),
		mig("TestBusyMigrationWsim1", "test_save", auto+"-WL:short_preempt-(C:1 R:4000)"),
		mig("TestBusyMigrationWsim1", "test_restore", auto+"-WL:short_preempt-(C:1 R:4000)"),
		mig("TestIdleMigration", "test_save", auto), mig("TestIdleMigration", "test_restore", auto),
		mig("TestCheckpoint", "test_save", auto), mig("TestCheckpoint", "test_load", auto), mig("", "test_2vm_pause_resume", ""),
	}
	t := newTape(ids...)
	t.info.Policy.RerunFailed = 1
	t.info.Dir, t.info.DUT = "", "dut-7, Linux 6.19.0-xe, Battlemage "+odd
	t.info.Argv = []string{"vmtb", "run", "--rerun-failed", "1", odd}
	t.info.BootID, t.info.PID, t.info.PIDStart = "fdb4f485-5793-447b-bcc2-6065de9d7b24", 174, 600
	t.info.Notes = append(t.info.Notes, odd)
	t.plan("01-b/test_vm_boot", "02-b/test_vm_boot", "03-b/test_vm_boot", "04-b/test_vm_boot", "05-m/test_save", "05-m/test_restore",
		"06-m/test_save", "06-m/test_restore", "07-m/test_save", "07-m/test_load", "08-m/test_2vm_pause_resume")
	at := func(i int) string { return t.info.Plan[i].Dir }
	setUp := func(i int, e flow.Entry, took time.Duration) {
		e.Phase, e.ID, e.Dir = flow.PhaseSetUp, ids[i].Fixture(), filepath.Dir(at(i))+"/fixture-1"
		t.begin(flow.PhaseSetUp, e.ID)
		t.entries[len(t.entries)-1].Dir = e.Dir
		t.step("enable VFs", e.ID, 1, flow.Entry{})
		t.step("boot vm0", e.ID, int(took/time.Second), flow.Entry{})
		t.log("INFO", "vm0 is ready", e.ID)
		t.end(e, time.Second)
		t.entries[len(t.entries)-1].Duration = took + 2*time.Second
	}
	run := func(i int, e flow.Entry, took time.Duration) {
		e.Phase, e.ID, e.Dir = flow.PhaseCase, ids[i], at(i)
		t.begin(flow.PhaseCase, ids[i])
		t.log("INFO", "trying\nin two lines", ids[i])
		t.step("load xe", ids[i], int(took/time.Second), flow.Entry{})
		t.end(e, 250*time.Millisecond)
		t.entries[len(t.entries)-1].Duration = took + 250*time.Millisecond
	}
	down := func(i int, e flow.Entry) {
		e.ID, e.Dir = ids[i].Fixture(), filepath.Dir(at(i))+"/fixture-1"
		e.Phase = flow.PhaseTearDown
		t.phase(e, 2*time.Second)
		t.phase(flow.Entry{Phase: flow.PhaseRestore, ID: e.ID, Dir: e.Dir}, 0)
	}

	setUp(0, flow.Entry{}, 12*time.Second)
	run(0, flow.Entry{Result: flow.Fail, Blame: flow.BlameGuest, Where: "basic/basic.go:41", Reason: "vm0: load xe: exit code 1\n" + odd}, 3*time.Second)
	run(0, flow.Entry{Result: flow.Pass}, 3*time.Second) // the rerun
	down(0, flow.Entry{})
	setUp(1, flow.Entry{}, 14*time.Second)
	run(1, flow.Entry{Result: flow.Fail, Blame: flow.BlameHost, Where: "basic/basic.go:44", Reason: "the VF is not bound"}, 5*time.Second)
	run(1, flow.Entry{Result: flow.Fail, Reason: "panic: index out of range", Stack: "goroutine 1 [running]:\nmain.x()\n\t/a/b.go:12 +0x1\n", Where: "basic/basic.go:50"}, 4*time.Second)
	down(1, flow.Entry{Result: flow.Error, Reason: "vm0: power off: no answer", Blame: flow.BlameInfra})
	setUp(2, flow.Entry{Result: flow.Error, Reason: "start QEMU: not found (install it)", Blame: flow.BlameInfra}, time.Second)
	t.end(flow.Entry{Phase: flow.PhaseCase, ID: ids[2], Result: flow.Error, Reason: "set-up failed: start QEMU: not found (install it)", Blame: flow.BlameInfra}, 0)
	t.phase(flow.Entry{Phase: flow.PhaseNeeds, ID: ids[3].Fixture()}, time.Second)
	t.end(flow.Entry{Phase: flow.PhaseCase, ID: ids[3], Result: flow.Skip, Reason: "need enough VFs: the PF has 1"}, 0)
	setUp(4, flow.Entry{}, 11*time.Second)
	run(4, flow.Entry{Result: flow.DmesgWarn, Reason: "host: xe 0000:03:00.0: [drm] GT0: timed out"}, 9*time.Second)
	run(5, flow.Entry{Result: flow.DmesgFail, Reason: "host: WARNING: CPU: 3 PID: 9 at drivers/gpu/drm/xe"}, 8*time.Second)
	down(4, flow.Entry{})
	setUp(6, flow.Entry{}, 10*time.Second)
	run(6, flow.Entry{Result: flow.Timeout, Reason: "missed its deadline of 1 min and did not come back; abandoned", Abandoned: true}, 61*time.Second)
	run(7, flow.Entry{Result: flow.Pass}, 7*time.Second)
	down(6, flow.Entry{})
	setUp(8, flow.Entry{}, 9*time.Second)
	run(8, flow.Entry{Result: aborted, Reason: "--abort-on taint: the kernel is tainted"}, 2*time.Second)
	t.end(flow.Entry{Phase: flow.PhaseCase, ID: ids[9], Result: flow.NotRun, Reason: "aborted"}, 0)
	t.phase(flow.Entry{Phase: flow.PhaseRestore, ID: ids[8].Fixture(), Dir: "07-m/fixture-1", Result: flow.Error, Reason: "undo sriov_numvfs: EBUSY", Blame: flow.BlameHost}, time.Second)
	t.end(flow.Entry{Phase: flow.PhaseCase, ID: ids[10], Result: flow.NotRun, Reason: "the host is not as it was: undo sriov_numvfs: EBUSY"}, 0)
	t.finish(flow.Entry{Result: flow.Error, Reason: "the host is not as it was: undo sriov_numvfs: EBUSY"})

	files := machineFiles("01-b/fixture-1/vm0")
	files["05-m/test_save/dmesg.txt"] = "<6>[  100.000001] xe: loading\n<4>[  101.500000] xe 0000:03:00.0: [drm] GT0: timed out\n<3>[  102.000000] " + odd + "\n"
	files["05-m/test_restore/dmesg.txt"] = "<4>[  120.000001] WARNING: CPU: 3 PID: 9 at drivers/gpu/drm/xe\n"
	files["05-m/test_restore/console-vm0.txt"] = "<6>[    9.000000] xe: recovered\n"
	files["06-m/test_save/goroutines.txt"] = "goroutine 1 [select]:\n"
	files["01-b/test_vm_boot/a b#c?d:e.txt"] = "x"
	return sample{name: "mixed", tape: t, files: files}
}

// resumedRun was killed in its second case, and went on later.
func resumedRun() sample {
	t := killed()
	t.at = t.at.Add(time.Minute)
	t.begin(flow.PhaseRun, flow.ID{})
	t.phase(flow.Entry{Phase: flow.PhaseCase, ID: boot("3VF"), Result: flow.Pass}, time.Second)
	t.finish(flow.Entry{})
	return sample{name: "resumed", tape: t}
}

// golden compares got with a file in testdata, in which the run directory is called /runs/NAME.
func golden(t *testing.T, name string, got string, runs ...*flow.RunDir) {
	t.Helper()
	for _, run := range runs {
		got = strings.ReplaceAll(got, run.Info.Dir, "/runs/"+filepath.Base(run.Info.Dir))
	}
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got)\n%s", path, diff)
	}
}

// write makes a report of a format and returns what it wrote.
func write(t testing.TB, format string, run *flow.RunDir) string {
	t.Helper()
	var b bytes.Buffer
	spec, err := ParseSpec(format + ":-")
	if err != nil {
		t.Fatal(err)
	}
	r, err := spec.Open(Options{Dir: run.Info.Dir, Stdout: &b})
	if err == nil {
		err = Replay(r, run)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Every format of a file, of every sample, as it was when somebody last looked at it.
func TestGolden(t *testing.T) {
	for _, s := range samples() {
		run := s.open(t)
		if run.Torn != (s.torn != "") {
			t.Errorf("%s: torn is %t", s.name, run.Torn)
		}
		for _, f := range Formats {
			if f.file != nil {
				golden(t, fmt.Sprintf("%s/%s", s.name, f.Path), write(t, f.Name, run), run)
			}
		}
	}
}
