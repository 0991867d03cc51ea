package report

import (
	"os"
	"strings"
	"testing"

	"vmtb/flow"
	"vmtb/report/reporttest"
	"vmtb/report/run"
)

func TestResults(t *testing.T) {
	for _, s := range reporttest.Samples() {
		run := s.Open(t)
		f := reporttest.Read(t, write(t, "results", run))
		f.Check(t)
		for _, it := range run.Info.Plan {
			if _, ok := f.Tests[it.ID.ResultsKey()]; !ok {
				t.Errorf("%s: %s is missing", s.Name, it.Name)
			}
		}
		_, aborted := f.Tests["igt@runner@aborted"]
		if want := s.Name == "mixed" || s.Name == "killed" || s.Name == "empty"; aborted != want {
			t.Errorf("%s: aborted %t", s.Name, aborted)
		}
		if n := len(f.Tests); !aborted && n != len(run.Info.Plan) || aborted && n != len(run.Info.Plan)+1 {
			t.Errorf("%s: %d tests", s.Name, n)
		}
	}
}

// Every result has the right word in each format.
func TestResultWords(t *testing.T) {
	run := reporttest.MixedRun().Open(t)
	f := reporttest.Read(t, write(t, "results", run))
	want := "pass fail crash skip dmesg-warn dmesg-fail timeout pass abort notrun notrun"
	var got []string
	for _, it := range run.Info.Plan {
		got = append(got, f.Tests[it.ID.ResultsKey()].Result)
	}
	if g := strings.Join(got, " "); g != want {
		t.Errorf("results.json: %s\nwant %s", g, want)
	}
	key := "vmtb@test_basic.py::TestVmSetup::test_vm_boot[2VF-(P:VGPU_PROFILE S:DEFAULT_PROFILE)]"
	if test := f.Tests[key]; !strings.Contains(*test.Err, "panic: index") || !strings.Contains(
		*test.Err, "attempt 1: fail the VF is not bound",
	) || !strings.Contains(*test.Err, "tear-down: vm0: power off: no answer") {
		t.Errorf("%s: err is\n%s", key, *test.Err)
	}
	if d := *f.Tests[run.Info.Plan[4].ID.ResultsKey()].Dmesg; !strings.Contains(
		d, "<4>[  101.500000] xe 0000:03:00.0: [drm] GT0: timed out\n",
	) {
		t.Errorf("dmesg: %q", d)
	}

	var lava []string
	for line := range strings.Lines(write(t, "lava", run)) {
		if _, result, ok := strings.Cut(line, "RESULT="); ok {
			lava = append(lava, strings.Fields(result)[0])
		}
	}
	want = "pass fail unknown unknown skip pass fail pass fail unknown skip unknown skip"
	if g := strings.Join(lava, " "); g != want {
		t.Errorf("LAVA: %s\nwant  %s", g, want)
	}
}

// All keys of the Python tool are right, byte for byte.
func TestResultsKeys(t *testing.T) {
	list, err := os.ReadFile("../flow/testdata/upstream-ids.txt")
	if err != nil {
		t.Fatal(err)
	}
	tp := reporttest.NewTape()
	keys := strings.Fields(strings.ReplaceAll(string(list), " ", "\x00"))
	paths := map[string]string{}
	for i, key := range keys {
		keys[i] = strings.ReplaceAll(key, "\x00", " ")
		id := upstreamID(keys[i])
		tp.Info.Plan = append(tp.Info.Plan, flow.Item{ID: id, Name: id.String()})
		p := run.PathName(id)
		hashed := id.Param != "" && !strings.HasSuffix(p, "."+run.PathPart(id.Param))
		if paths[p] != "" || !kcidbPath.MatchString(p) || hashed {
			t.Errorf("%s has the path %s of %q", keys[i], p, paths[p])
		}
		paths[p] = keys[i]
	}
	f := reporttest.Read(t, write(t, "results", reporttest.Sample{Name: "all", Tape: tp}.Open(t)))
	f.Check(t)
	for _, key := range keys {
		if _, ok := f.Tests["vmtb@"+key]; !ok {
			t.Errorf("vmtb@%s is missing", key)
		}
	}
	if len(keys) != 195 || f.Totals["vmtb@test_basic.py"]["notrun"] != 13 {
		t.Errorf("%d keys, totals %v", len(keys), f.Totals)
	}
}

func upstreamID(key string) flow.ID {
	var id flow.ID
	key, id.Param, _ = strings.Cut(key, "[")
	id.Param = strings.TrimSuffix(id.Param, "]")
	parts := strings.Split(key, "::")
	id.File, id.Case = strings.TrimSuffix(parts[0], ".py"), parts[len(parts)-1]
	if len(parts) == 3 {
		id.Class = parts[1]
	}
	return id
}
