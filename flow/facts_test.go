package flow

import (
	"context"
	"reflect"
	"testing"
)

// Facts of machines are log lines of the journal. A run that is opened has them without the other
// log lines.
func TestFacts(t *testing.T) {
	want := []Fact{{"kernel", "7.3.4"}, {"xe build id", `ab","facts":[`}}
	s := &script{do: do{"set-up 1": func(_ context.Context, env *Env, _ *T) error {
		env.Log.Info(`a message with ,"facts":[ in it`)
		env.Facts("vm0", want)
		env.Facts("vm1", nil)
		return nil
	}}}
	got := s.run(t.Context(), t, Options{}, "")
	run, err := OpenRun(got.dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(run.Facts) != 1 || run.Facts[0].Machine != "vm0" || !reflect.DeepEqual(run.Facts[0].Facts, want) {
		t.Errorf("%+v", run.Facts)
	}
	if e := run.Facts[0]; e.Message != `vm0: kernel 7.3.4, xe build id ab","facts":[` || e.Level != "INFO" {
		t.Errorf("%s %q", e.Level, e.Message)
	}
	for _, e := range run.Entries {
		if e.Event == Log {
			t.Errorf("%+v is a log line", e)
		}
	}
	all := 0
	for e, err := range run.All() {
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Facts) > 0 {
			all++
		}
	}
	if all != 1 {
		t.Errorf("%d lines with facts", all)
	}
}
