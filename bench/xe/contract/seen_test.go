package contract_test

import (
	"slices"
	"testing"

	"vmtb/bench/xe/contract"
)

// Each sighting is of an existing rule, once, and in the order of the rules. No sighted rule is
// still marked as unseen.
func TestSightings(t *testing.T) {
	sightings, err := contract.Sightings()
	if err != nil || len(sightings) == 0 {
		t.Fatalf("%d drivers, %v", len(sightings), err)
	}
	for _, seen := range sightings {
		if seen.Driver == "" || seen.About == "" || len(seen.Rules) == 0 {
			t.Errorf("%+v: want a driver, a sentence about it, and rules", seen)
		}
		var known []string
		for _, s := range contract.Sections() {
			for _, r := range s.Rules {
				if slices.Contains(seen.Rules, r.ID) {
					known = append(known, r.ID)
					if r.Unverified != "" {
						t.Errorf("%s was seen on %s, and says that it was not: %s", r.ID, seen.Driver, r.Unverified)
					}
				}
			}
		}
		if !slices.Equal(known, seen.Rules) {
			t.Errorf("%s: the rules are %q, want these in this order: %q", seen.Driver, seen.Rules, known)
		}
	}
}
