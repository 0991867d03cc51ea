package contract

import (
	"embed"
	"slices"
	"strings"
)

//go:embed seen
var seenFiles embed.FS

// A Sighting is a driver on which a run of xe_contract had no failure, with the rules that passed.
type Sighting struct {
	Driver string   // the driver's version and the device, short: "7.3.4 emulated ptl"
	About  string   // one sentence about both
	Rules  []string // the IDs of the rules that passed, in the order of the table
}

// Sightings returns the sightings of all drivers so far, sorted by the drivers' names. Each is a
// file in seen/: the driver, a sentence about it, and then one rule a line.
func Sightings() ([]Sighting, error) {
	files, err := seenFiles.ReadDir("seen")
	if err != nil {
		return nil, err
	}
	var all []Sighting
	for _, f := range files {
		text, err := seenFiles.ReadFile("seen/" + f.Name())
		if err != nil {
			return nil, err
		}
		lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		s := Sighting{Driver: lines[0]}
		if len(lines) > 1 {
			s.About, s.Rules = lines[1], lines[2:]
		}
		all = append(all, s)
	}
	return all, nil
}

// seenOn returns the drivers on which a rule was seen to hold.
func seenOn(sightings []Sighting, rule string) string {
	var drivers []string
	for _, s := range sightings {
		if slices.Contains(s.Rules, rule) {
			drivers = append(drivers, s.Driver)
		}
	}
	return strings.Join(drivers, ", ")
}
