package env

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"vmtb/flow"
	"vmtb/internal/doctor"
)

// The exit code is the same for both forms of output: a line for each check, or one JSON array.
func TestPrintChecks(t *testing.T) {
	for status, want := range map[doctor.Status]error{
		doctor.OK: nil, doctor.Warn: nil, doctor.Bad: ExitCode(flow.ExitError),
	} {
		all := []doctor.Result{
			{Check: "one", Status: doctor.OK, Found: "yes"}, {Check: "two", Status: status, Found: "no"},
		}
		checks := func(_ context.Context, each func(doctor.Result)) ([]doctor.Result, error) {
			for _, r := range all {
				each(r)
			}
			return all, nil
		}
		var out bytes.Buffer
		e := &Env{Out: &out}
		if err := e.PrintChecks(t.Context(), checks, false); !errors.Is(err, want) ||
			strings.Count(out.String(), "\n") != 2 {
			t.Errorf("%s: %v, want %v; printed %q", status, err, want, out.String())
		}
		out.Reset()
		var got []doctor.Result
		if err := e.PrintChecks(t.Context(), checks, true); !errors.Is(err, want) {
			t.Errorf("%s as JSON: %v, want %v", status, err, want)
		}
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || len(got) != 2 || got[1] != all[1] {
			t.Errorf("%v, %+v in %q", err, got, out.String())
		}
	}
}
