package flow

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A DUT is one machine under test of a merged run.
type DUT struct {
	Name        string   `json:"name"`
	Description string   `json:"dut,omitempty"` // Info.DUT of its newest run
	Environment []Fact   `json:"environment,omitempty"`
	Runs        []DUTRun `json:"runs,omitempty"` // by start; none for a DUT that was expected and sent nothing
	Missing     string   `json:"missing,omitempty"`
}

// A DUTRun is a run directory that was merged: one DUT's attempt at a part of the plan.
type DUTRun struct {
	Dir      string    `json:"dir"` // its own run.json, journal and logs, in the merged directory
	Start    time.Time `json:"start"`
	BootID   string    `json:"boot_id,omitempty"`
	Planned  int       `json:"planned"`
	Done     int       `json:"done"`                // cases that it gave a result, without those cut off
	Extra    bool      `json:"extra,omitempty"`     // its results do not count
	ExitCode *int      `json:"exit_code,omitempty"` // nil: the run did not come to its end
}

// Merged reports whether the run directory was made by [Merge].
func (info Info) Merged() bool { return len(info.DUTs) > 0 }

// Participants says which DUTs of a merged run came to their end, and which did not and why:
// "Participating DUTs 5 of 6; missing: bmg-07 (no run directory)". It is "" for a run of one DUT
// that came to its end, and for one that is not merged.
func (info Info) Participants() string {
	var missing []string
	for _, d := range info.DUTs {
		if d.Missing != "" {
			missing = append(missing, fmt.Sprintf("%s (%s)", d.Name, d.Missing))
		}
	}
	if len(info.DUTs) < 2 && len(missing) == 0 {
		return ""
	}
	s := fmt.Sprintf("Participating DUTs %d of %d", len(info.DUTs)-len(missing), len(info.DUTs))
	if len(missing) > 0 {
		s += "; missing: " + strings.Join(missing, ", ")
	}
	return s
}

// Named returns the DUT of that name; ok is false if there is none.
func (info Info) Named(name string) (d DUT, ok bool) {
	i := slices.IndexFunc(info.DUTs, func(d DUT) bool { return d.Name == name })
	if i < 0 {
		return DUT{}, false
	}
	return info.DUTs[i], true
}

// hostOf is the name at the beginning of the line that describes a machine under test.
func hostOf(description string) string {
	name, _, _ := strings.Cut(description, ",")
	if name = strings.TrimSpace(name); name == "" {
		return "unnamed"
	}
	return name
}
