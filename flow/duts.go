package flow

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A DUT is one machine under test (DUT) of a merged run.
type DUT struct {
	Name        string   `json:"name"`
	Description string   `json:"dut,omitempty"` // Info.DUT of the newest run of this DUT
	Environment []Fact   `json:"environment,omitempty"`
	Runs        []DUTRun `json:"runs,omitempty"` // by start; none for an expected DUT without a run directory
	Missing     string   `json:"missing,omitempty"`
}

// A DUTRun is a merged run directory: the attempt of one DUT at a part of the plan.
type DUTRun struct {
	Dir      string    `json:"dir"` // the folder of its own run.json, journal and logs, in the merged directory
	Start    time.Time `json:"start"`
	BootID   string    `json:"boot_id,omitempty"`
	Planned  int       `json:"planned"`
	Done     int       `json:"done"`                // number of cases with a result, without those cut off
	Extra    bool      `json:"extra,omitempty"`     // the results do not count
	ExitCode *int      `json:"exit_code,omitempty"` // nil: the run has no end
}

// Merged reports whether the run directory was made by [Merge].
func (info Info) Merged() bool { return len(info.DUTs) > 0 }

// Participants returns a line about the DUTs of a merged run: how many finished, which did not, and
// why. An example is "Participating DUTs 5 of 6; missing: bmg-07 (no run directory)". It returns ""
// for a run that is not merged, and for a run of one DUT that finished.
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

// Named returns the DUT with this name; ok is false if there is none.
func (info Info) Named(name string) (d DUT, ok bool) {
	i := slices.IndexFunc(info.DUTs, func(d DUT) bool { return d.Name == name })
	if i < 0 {
		return DUT{}, false
	}
	return info.DUTs[i], true
}

// hostOf returns the host name at the beginning of a DUT's description.
func hostOf(description string) string {
	name, _, _ := strings.Cut(description, ",")
	if name = strings.TrimSpace(name); name == "" {
		return "unnamed"
	}
	return name
}
