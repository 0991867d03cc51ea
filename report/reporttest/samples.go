package reporttest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vmtb/flow"
)

// A Sample is the content of a run directory.
type Sample struct {
	Name  string
	Tape  *Tape
	Files map[string]string // other files than run.json and journal.jsonl
	Torn  string            // last line of the journal, cut off by a crash
}

// Open writes the run directory and opens it with [flow.OpenRun].
func (s Sample) Open(t testing.TB) *flow.RunDir {
	t.Helper()
	dir := filepath.Join(t.TempDir(), s.Name)
	put := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	info, err := json.Marshal(s.Tape.Info)
	if err != nil {
		t.Fatal(err)
	}
	put("run.json", string(info))
	var journal bytes.Buffer
	enc := json.NewEncoder(&journal)
	for _, e := range s.Tape.Entries {
		if err := enc.Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	put("journal.jsonl", journal.String()+s.Torn)
	for name, text := range s.Files {
		put(name, text)
	}
	run, err := flow.OpenRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// Samples returns runs that together have everything that a report shows.
func Samples() []Sample {
	return []Sample{
		PassedRun(), MixedRun(),
		{Name: "interrupted", Tape: Interrupted()},
		{Name: "killed", Tape: Killed(), Torn: `{"seq":7,"ti`},
		{Name: "empty", Tape: NewTape()},
		ResumedRun(),
	}
}

// Odd is text as a guest may write it: invalid UTF-8, control characters, terminal commands,
// markup, a direction override.
const Odd = "bad \xff\xfe bytes \x00\x00\x00 \x1b[31mred\x1b[0m \x1b]0;title\x07 bell \x07 " +
	"<b>&\"'</b> ]]> \u202eabc\u2028 \ufffe # x"

// MachineFiles returns the files of a machine, by name. dir is the machine's folder.
func MachineFiles(dir string) map[string]string {
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
		dir + "/argv": "qemu-system-x86_64 -name 'guest=vm0 -x' -S -machine q35 -m 256M " +
			"-chardev socket,id=qmp,path=/run/vmtb/abc/qmp,server=on " +
			"-blockdev driver=qcow2,file.driver=file,file.filename=/var/tmp/vmtb-1/disk0.qcow2 " +
			"-device vfio-pci,host=0000:01:10.0\n",
		dir + "/console.log": "\r\nLinux version 6.12\r\n[    1.000000] xe 0000:01:00.0: [drm] VF\r\n" +
			"[    2.5] BUG: unable to handle page fault " + Odd + "\r\n~ # \x1b[6n",
		dir + "/qmp.jsonl":  qmp,
		dir + "/qga.jsonl":  `{"t":"` + at + `02Z","dir":"out","line":"\ufffd{}"}` + "\n",
		dir + "/stderr.log": "",
	}
}

// PassedRun is [Passes] with the files of a machine.
func PassedRun() Sample {
	t := Passes()
	t.Plan("01-x/test_vm_boot", "02-x/test_vm_boot")
	t.Info.Argv = []string{"vmtb", "run", "-v", "test_basic::TestVmSetup::test_vm_boot[1VF]"}
	t.Info.Environment = []flow.Fact{
		{Name: "uname", Value: "Linux dut 6.19.0 #1 SMP PREEMPT_DYNAMIC x86_64"}, {Name: "qemu", Value: "10.0.13"},
	}
	t.Info.Config = json.RawMessage(
		`{"guest":{"os_image":"/lab/guest.img"},"ci":{"kcidb_origin":"mylab","kcidb_build_id":"maestro:66f"}}`,
	)
	for i := range t.Entries {
		if e := &t.Entries[i]; e.Phase == flow.PhaseSetUp || e.Phase == flow.PhaseRestore {
			e.Dir = map[bool]string{true: "01-x", false: "02-x"}[strings.HasPrefix(e.ID.Param, "1VF")] + "/fixture-1"
		}
	}
	return Sample{Name: "pass", Tape: t, Files: MachineFiles("01-x/fixture-1/vm0")}
}

// MixedRun is a run with every result, reruns, kernel messages, and bytes of all kinds.
func MixedRun() Sample { //nolint:funlen // a table, in the order of time
	mig := func(class, name, param string) flow.ID {
		return flow.ID{File: "test_migration", Class: class, Case: name, Param: param}
	}
	const auto = "1VF-(P:AUTO S:DEFAULT_PROFILE)"
	ids := []flow.ID{
		Boot("1VF-" + Profile), Boot("2VF-" + Profile), Boot("4VF-" + Profile), Boot("2VF-(P:AUTO S:INFINITE)"),
		mig("TestBusyMigrationWsim1", "test_save", auto+"-WL:short_preempt-(C:1 R:4000)"),
		mig("TestBusyMigrationWsim1", "test_restore", auto+"-WL:short_preempt-(C:1 R:4000)"),
		mig("TestIdleMigration", "test_save", auto), mig("TestIdleMigration", "test_restore", auto),
		mig(
			"TestCheckpoint", "test_save", auto,
		), mig("TestCheckpoint", "test_load", auto), mig("", "test_2vm_pause_resume", ""),
	}
	t := NewTape(ids...)
	t.Info.Policy.RerunFailed = 1
	t.Info.Dir, t.Info.DUT = "", "dut-7, Linux 6.19.0-xe, Battlemage "+Odd
	t.Info.Argv = []string{"vmtb", "run", "--rerun-failed", "1", Odd}
	t.Info.BootID, t.Info.PID, t.Info.PIDStart = "fdb4f485-5793-447b-bcc2-6065de9d7b24", 174, 600
	t.Info.Notes = append(t.Info.Notes, Odd)
	t.Plan(
		"01-b/test_vm_boot", "02-b/test_vm_boot", "03-b/test_vm_boot", "04-b/test_vm_boot",
		"05-m/test_save", "05-m/test_restore",
		"06-m/test_save", "06-m/test_restore", "07-m/test_save", "07-m/test_load", "08-m/test_2vm_pause_resume",
	)
	at := func(i int) string { return t.Info.Plan[i].Dir }
	setUp := func(i int, e flow.Entry, took time.Duration) {
		e.Phase, e.ID, e.Dir = flow.PhaseSetUp, ids[i].Fixture(), filepath.Dir(at(i))+"/fixture-1"
		t.Begin(flow.PhaseSetUp, e.ID)
		t.Entries[len(t.Entries)-1].Dir = e.Dir
		t.Step("enable VFs", e.ID, 1, flow.Entry{})
		t.Step("boot vm0", e.ID, int(took/time.Second), flow.Entry{})
		t.Log("INFO", "vm0 is ready", e.ID)
		t.End(e, time.Second)
		t.Entries[len(t.Entries)-1].Duration = took + 2*time.Second
	}
	run := func(i int, e flow.Entry, took time.Duration) {
		e.Phase, e.ID, e.Dir = flow.PhaseCase, ids[i], at(i)
		t.Begin(flow.PhaseCase, ids[i])
		t.Log("INFO", "trying\nin two lines", ids[i])
		t.Step("load xe", ids[i], int(took/time.Second), flow.Entry{})
		t.End(e, 250*time.Millisecond)
		t.Entries[len(t.Entries)-1].Duration = took + 250*time.Millisecond
	}
	down := func(i int, e flow.Entry) {
		e.ID, e.Dir = ids[i].Fixture(), filepath.Dir(at(i))+"/fixture-1"
		e.Phase = flow.PhaseTearDown
		t.Phase(e, 2*time.Second)
		t.Phase(flow.Entry{Phase: flow.PhaseRestore, ID: e.ID, Dir: e.Dir}, 0)
	}

	setUp(0, flow.Entry{}, 12*time.Second)
	run(
		0,
		flow.Entry{
			Result: flow.Fail, Blame: flow.BlameGuest, Where: "basic/basic.go:41",
			Reason: "vm0: load xe: exit code 1\n" + Odd,
		},
		3*time.Second,
	)
	run(0, flow.Entry{Result: flow.Pass}, 3*time.Second) // the rerun
	down(0, flow.Entry{})
	setUp(1, flow.Entry{}, 14*time.Second)
	run(
		1,
		flow.Entry{Result: flow.Fail, Blame: flow.BlameHost, Where: "basic/basic.go:44", Reason: "the VF is not bound"},
		5*time.Second,
	)
	run(
		1,
		flow.Entry{
			Result: flow.Fail, Reason: "panic: index out of range",
			Stack: "goroutine 1 [running]:\nmain.x()\n\t/a/b.go:12 +0x1\n", Where: "basic/basic.go:50",
		},
		4*time.Second,
	)
	down(1, flow.Entry{Result: flow.Error, Reason: "vm0: power off: no answer", Blame: flow.BlameInfra})
	setUp(
		2, flow.Entry{Result: flow.Error, Reason: "start QEMU: not found (install it)", Blame: flow.BlameInfra},
		time.Second,
	)
	t.End(flow.Entry{
		Phase: flow.PhaseCase, ID: ids[2], Result: flow.Error,
		Reason: "set-up failed: start QEMU: not found (install it)",
		Blame:  flow.BlameInfra,
	}, 0)
	t.Phase(flow.Entry{Phase: flow.PhaseNeeds, ID: ids[3].Fixture()}, time.Second)
	t.End(flow.Entry{Phase: flow.PhaseCase, ID: ids[3], Result: flow.Skip, Reason: "need enough VFs: the PF has 1"}, 0)
	setUp(4, flow.Entry{}, 11*time.Second)
	run(4, flow.Entry{Result: flow.DmesgWarn, Reason: "host: xe 0000:03:00.0: [drm] GT0: timed out"}, 9*time.Second)
	run(
		5, flow.Entry{Result: flow.DmesgFail, Reason: "host: WARNING: CPU: 3 PID: 9 at drivers/gpu/drm/xe"},
		8*time.Second,
	)
	down(4, flow.Entry{})
	setUp(6, flow.Entry{}, 10*time.Second)
	run(
		6,
		flow.Entry{
			Result: flow.Timeout, Reason: "missed its deadline of 1 min and did not return; abandoned",
			Abandoned: true,
		},
		61*time.Second,
	)
	run(7, flow.Entry{Result: flow.Pass}, 7*time.Second)
	down(6, flow.Entry{})
	setUp(8, flow.Entry{}, 9*time.Second)
	run(8, flow.Entry{Result: "abort", Reason: "--abort-on taint: the kernel is tainted"}, 2*time.Second)
	t.End(flow.Entry{Phase: flow.PhaseCase, ID: ids[9], Result: flow.NotRun, Reason: "aborted"}, 0)
	t.Phase(
		flow.Entry{
			Phase: flow.PhaseRestore, ID: ids[8].Fixture(), Dir: "07-m/fixture-1", Result: flow.Error,
			Reason: "undo sriov_numvfs: EBUSY", Blame: flow.BlameHost,
		},
		time.Second,
	)
	t.End(flow.Entry{
		Phase: flow.PhaseCase, ID: ids[10], Result: flow.NotRun,
		Reason: "the host is not restored: undo sriov_numvfs: EBUSY",
	}, 0)
	t.Finish(flow.Entry{Result: flow.Error, Reason: "the host is not restored: undo sriov_numvfs: EBUSY"})

	files := MachineFiles("01-b/fixture-1/vm0")
	files["05-m/test_save/dmesg.txt"] = "<6>[  100.000001] xe: loading\n" +
		"<4>[  101.500000] xe 0000:03:00.0: [drm] GT0: timed out\n<3>[  102.000000] " + Odd + "\n"
	files["05-m/test_restore/dmesg.txt"] = "<4>[  120.000001] WARNING: CPU: 3 PID: 9 at drivers/gpu/drm/xe\n"
	files["05-m/test_restore/console-vm0.txt"] = "<6>[    9.000000] xe: recovered\n"
	files["06-m/test_save/goroutines.txt"] = "goroutine 1 [select]:\n"
	files["01-b/test_vm_boot/a b#c?d:e.txt"] = "x"
	return Sample{Name: "mixed", Tape: t, Files: files}
}

// ResumedRun is a run that was killed in its second case and resumed later.
func ResumedRun() Sample {
	t := Killed()
	t.At = t.At.Add(time.Minute)
	t.Begin(flow.PhaseRun, flow.ID{})
	t.Phase(flow.Entry{Phase: flow.PhaseCase, ID: Boot("3VF"), Result: flow.Pass}, time.Second)
	t.Finish(flow.Entry{})
	return Sample{Name: "resumed", Tape: t}
}

// EarlierRun is a run with the cases of [MixedRun], at an earlier time.
func EarlierRun() Sample {
	s := MixedRun()
	s.Name = "earlier"
	fail := []string{"TestIdleMigration::test_restore", "TestIdleMigration::test_save", "[2VF-(P:AUTO S:INFINITE)]"}
	s.Tape.Entries = slices.Clone(s.Tape.Entries)
	for i := range s.Tape.Entries {
		e := &s.Tape.Entries[i]
		if e.Event != flow.End || e.Phase != flow.PhaseCase {
			continue
		}
		e.Result, e.Reason = flow.Pass, ""
		if slices.ContainsFunc(fail, func(f string) bool { return strings.Contains(e.ID.String(), f) }) {
			e.Result = flow.Fail
		}
	}
	return s
}
