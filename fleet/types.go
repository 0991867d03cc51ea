package main

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"regexp"
	"time"
)

// A unit is what one DUT runs in one go. It is data only: ids and options that agents check, never
// a command line.
type unit struct {
	Run      string            `json:"run"`
	Name     string            `json:"name"` // hash of Fixture and Kind: a word for subjects
	Fixture  string            `json:"fixture"`
	Kind     string            `json:"kind,omitempty"` // of a run with --each: the value, "bmg"
	IDs      []string          `json:"ids"`
	Options  map[string]string `json:"options,omitempty"`
	Need     string            `json:"need,omitempty"`
	Deadline time.Time         `json:"deadline,omitzero"`
}

func (u unit) key() string     { return u.Run + "." + u.Name }
func (u unit) pool() string    { return word(u.Need) }
func (u unit) subject() string { return "unit." + u.pool() + "." + u.key() }

// title names a unit for people.
func (u unit) title() string {
	if u.Kind != "" {
		return u.Fixture + " on " + u.Kind
	}
	return u.Fixture
}

// A claim is the lease of a unit.
type claim struct {
	DUT     string   `json:"dut"`
	Attempt int      `json:"attempt"`
	Lost    []string `json:"lost,omitempty"` // DUTs that had the unit and did not come back in time
	Over    bool     `json:"over,omitempty"` // it has a result
}

// A result is what an attempt came to. The first of a unit counts.
type result struct {
	Unit    string    `json:"unit"`
	DUT     string    `json:"dut"`
	Attempt int       `json:"attempt"`
	Object  string    `json:"object,omitempty"` // "" if there is no run directory
	Exit    int       `json:"exit"`
	Why     string    `json:"why,omitempty"` // for people, if vmtb did not come to its own end
	At      time.Time `json:"at"`
}

// States of a run.
const (
	stateOpen      = "open"
	stateCancelled = "cancelled"
)

// A runInfo is what was submitted.
type runInfo struct {
	ID       string    `json:"id"`
	Who      string    `json:"who"`
	At       time.Time `json:"at"`
	Words    []string  `json:"selection"`
	Each     string    `json:"each,omitempty"`
	Deadline time.Time `json:"deadline,omitzero"`
	State    string    `json:"state"`
	Units    int       `json:"units"`
}

// A standing is whether a DUT may take units: by word of people.
type standing struct {
	Who   string    `json:"who,omitempty"`
	Until time.Time `json:"until,omitzero"` // reserved until then
	Drain bool      `json:"drain,omitempty"`
	Clear int       `json:"clear,omitempty"` // counts the times that somebody has called the DUT good again
}

// A dutInfo is what an agent says of its DUT.
type dutInfo struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels"`
	State  string            `json:"state"` // idle, running, reserved, draining, waiting, bad
	Why    string            `json:"why,omitempty"`
	Unit   string            `json:"unit,omitempty"`
	BootID string            `json:"boot_id"`
	Seen   time.Time         `json:"seen"`              // by the server's clock
	Skew   time.Duration     `json:"skew_ns,omitempty"` // of the DUT's clock
}

// word is a short word for any text, for subjects and keys.
func word(s string) string {
	h := fnv.New64a()
	h.Write([]byte(s))
	return fmt.Sprintf("%016x", h.Sum64())
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,60}$`)

// checkName refuses what cannot be a word of a subject.
func checkName(what, name string) error {
	if !nameForm.MatchString(name) {
		return usagef("%s %q: want letters, digits, - and _", what, name)
	}
	return nil
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic("BUG: " + err.Error()) //nolint:forbidigo // our own types marshal
	}
	return data
}

// A usageError is a mistake on the command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitCode ends the program without a message.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }
