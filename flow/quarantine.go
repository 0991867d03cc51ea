package flow

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"vmtb/bench"
	"vmtb/internal/strictjson"
)

// A Quarantine takes cases out of the verdict about a run. They run and their results are recorded,
// but the results do not count for the exit code. It expires, so that no case is forgotten in it.
type Quarantine struct {
	ID      string `json:"id"`      // a pattern of Select
	Reason  string `json:"reason"`  // why
	Link    string `json:"link"`    // to the bug or its owner; may be empty
	Expires Date   `json:"expires"` // last day, UTC
}

// A Date is a day, like "2026-12-31".
type Date string

// UnmarshalText returns an error if text is not a date.
func (d *Date) UnmarshalText(text []byte) error {
	*d = Date(text)
	if _, err := time.Parse(time.DateOnly, string(text)); err != nil {
		return fmt.Errorf("%q is not a date, want YYYY-MM-DD", text)
	}
	return nil
}

// over reports whether the day has ended at the time now, in UTC.
func (d Date) over(now time.Time) bool {
	day, err := time.Parse(time.DateOnly, string(d))
	return err != nil || !now.Before(day.AddDate(0, 0, 1))
}

// ParseQuarantine parses data, the content of the file at path: {"quarantine": [{"id": ...,
// "reason": ..., "link": ..., "expires": "2026-12-31"}]}. A mistake is a [bench.UsageError] with
// its place in the file.
func ParseQuarantine(path string, data []byte) ([]Quarantine, error) {
	const advice = "vmtb help run-policy describes the file"
	var file struct {
		Quarantine []Quarantine `json:"quarantine"`
	}
	if err := strictjson.Unmarshal(path, data, &file); err != nil {
		return nil, &bench.UsageError{Err: err, Advice: advice}
	}
	var errs []error
	for i, q := range file.Quarantine {
		absent := map[string]bool{"id": q.ID == "", "reason": q.Reason == "", "expires": q.Expires == ""}
		for key, missing := range absent {
			if missing {
				errs = append(errs, fmt.Errorf("%s: quarantine.%d: %s is missing", path, i, key))
			}
		}
		if _, err := parsePattern(q.ID); q.ID != "" && err != nil {
			errs = append(errs, fmt.Errorf("%s: quarantine.%d: %w", path, i, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, &bench.UsageError{Err: err, Advice: advice}
	}
	return file.Quarantine, nil
}

// Quarantine sets the quarantine of those items that list selects. An entry that has expired at the
// time now, or that matches no flow, has no effect. notes has a line about each of these.
func (r *Registry) Quarantine(items []Item, list []Quarantine, now time.Time) (notes []string, err error) {
	for _, q := range list {
		ids, _, err := r.resolve(r.Items(), q.ID)
		switch {
		case errors.Is(err, ErrNoMatch):
			notes = append(notes, fmt.Sprintf("quarantine: no flow matches %q", q.ID))
			continue
		case err != nil:
			return notes, err
		case q.Expires.over(now):
			notes = append(notes, fmt.Sprintf(
				"quarantine: %q expired on %s: its results count again (%s)",
				q.ID, q.Expires, strings.TrimSpace(q.Reason+" "+q.Link),
			))
			continue
		}
		taken := map[ID]bool{}
		for _, id := range ids {
			taken[id] = true
		}
		for i := range items {
			if taken[items[i].ID] && items[i].Quarantine == nil {
				items[i].Quarantine = &q
			}
		}
	}
	return notes, nil
}
