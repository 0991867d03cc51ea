package klog

import (
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"vmtb/bench"
	"vmtb/internal/strictjson"
)

// A Source says whose kernel logged a message.
type Source string

// These are the sources.
const (
	Host  Source = "host"
	Guest Source = "guest"
)

// A Message is a message in a kernel's log.
type Message struct {
	Source    Source
	Level     int    // 0 (emergency) to 7 (debug), or UnknownLevel
	Subsystem string // "pci", from the record's dictionary; most messages have none: ""
	Text      string
}

// UnknownLevel is the level of a message from a console that does not show levels.
const UnknownLevel = -1

// An Action is the consequence of a message.
type Action string

// These are the actions.
const (
	Ignore Action = "ignore"
	Warn   Action = "warn"
	Fail   Action = "fail"
)

// UnmarshalText implements [encoding.TextUnmarshaler]. It returns an error for an unknown action.
func (a *Action) UnmarshalText(text []byte) error {
	*a = Action(text)
	return oneOf("action", *a, Ignore, Warn, Fail)
}

// UnmarshalText implements [encoding.TextUnmarshaler]. It returns an error for an unknown source.
func (s *Source) UnmarshalText(text []byte) error {
	*s = Source(text)
	return oneOf("source", *s, Host, Guest)
}

func oneOf[T ~string](what string, v T, valid ...T) error {
	if slices.Contains(valid, v) {
		return nil
	}
	return fmt.Errorf("%s %q, want one of %q", what, v, valid)
}

// A Rule gives the action for the messages that match all its fields.
type Rule struct {
	Name string `json:"name"`
	// Matches part of the text (Go's RE2 syntax); nil matches any text.
	Match *regexp.Regexp `json:"match"`
	// This severity or worse: 3 is error; an unknown level does not match.
	Level     *int   `json:"level"`
	Subsystem string `json:"subsystem"` // exactly this one; "" matches all
	Source    Source `json:"source"`    // exactly this one; "" matches all
	Action    Action `json:"action"`
}

func (r *Rule) matches(m Message) bool {
	return (r.Source == "" || r.Source == m.Source) &&
		(r.Subsystem == "" || r.Subsystem == m.Subsystem) &&
		(r.Level == nil || m.Level != UnknownLevel && m.Level <= *r.Level) &&
		(r.Match == nil || r.Match.MatchString(m.Text))
}

// Rules is a list of rules. The first match decides.
type Rules []Rule

// Judge returns the name and the action of the first rule that matches m. If no rule matches, it
// returns "" and [Ignore].
func (rs Rules) Judge(m Message) (rule string, a Action) {
	for i := range rs {
		if rs[i].matches(m) {
			return rs[i].Name, rs[i].Action
		}
	}
	return "", Ignore
}

//go:embed builtin.json
var builtin []byte

// Builtin returns the built-in rules.
func Builtin() (Rules, error) { return Parse("builtin.json", builtin) }

// Parse parses data, the content of the file at path: {"rules": [{"name": ..., "match": ...,
// "level": 3, "subsystem": ..., "source": "host", "action": "fail"}]}. The error for a mistake is a
// [bench.UsageError] with the position.
func Parse(path string, data []byte) (Rules, error) {
	rules, err := parse(path, data)
	if err != nil {
		return nil, &bench.UsageError{Err: err, Advice: "vmtb help kernel-logs describes the file"}
	}
	return rules, nil
}

// matchesAny reports whether re matches every message, as ".*", "." and "oops|" do. It tries two
// texts that have nothing in common and that no rule is written for.
func matchesAny(re *regexp.Regexp) bool {
	return re.MatchString(strings.Repeat("\x01", 64)) && re.MatchString(strings.Repeat("~", 64))
}

func parse(path string, data []byte) (Rules, error) {
	var f struct {
		Rules []Rule `json:"rules"`
	}
	if err := strictjson.Unmarshal(path, data, &f); err != nil {
		return nil, err
	}
	var errs []error
	for i, r := range f.Rules {
		bad := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("%s: rules.%d: %w", path, i, fmt.Errorf(format, args...)))
		}
		switch {
		case r.Name == "":
			bad("name is missing")
		case r.Action == "":
			bad("action is missing")
		case r.Level != nil && (*r.Level < 0 || *r.Level > 7):
			bad("level is %d, want 0 (emergency) to 7 (debug)", *r.Level)
		case r.Match != nil && r.Match.String() == "":
			bad("match is empty, which every text matches: " +
				"give an expression, or leave match out and name level or subsystem")
		case (r.Match == nil || matchesAny(r.Match)) && r.Level == nil && r.Subsystem == "":
			bad("it matches everything: name match, level or subsystem")
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return f.Rules, nil
}
