package run

import (
	"cmp"
	"slices"
	"strings"

	"vmtb/flow"
)

// maxValues limits the number of values of a fact that a history keeps.
const maxValues = 10

// machineFacts are the facts of the machines of a run, by name, each value once. The names of the
// guests' facts begin with "guest ".
type machineFacts struct {
	names  []string // in the order of their first value
	values map[string][]string
}

func (m *machineFacts) add(name, value string) {
	name, value = Clean(name), Clean(value)
	if value == "" || slices.Contains(m.values[name], value) || len(m.values[name]) == maxValues {
		return
	}
	if m.values == nil {
		m.values = map[string][]string{}
	}
	if m.values[name] == nil {
		m.names = append(m.names, name)
	}
	m.values[name] = append(m.values[name], value)
}

// value returns the values of a fact on one line, or "" if it is not known.
func (m *machineFacts) value(name string) string {
	all := slices.Clone(m.values[name])
	slices.Sort(all) // guests start at the same time, in any order
	return strings.Join(all, ", ")
}

// addFacts adds the facts of an entry.
func (h *History) addFacts(e flow.Entry) {
	prefix := ""
	if e.Machine != flow.SourceHost {
		prefix = "guest "
	}
	for _, f := range e.Facts {
		h.machines.add(prefix+f.Name, f.Value)
	}
}

// MachineFacts returns the facts of the machines that were not known when the run began, for
// people: those of guests, and of modules that flows loaded on the host. If the guests differ, a
// value lists all of them.
func (h *History) MachineFacts() []flow.Fact {
	var facts []flow.Fact
	for _, name := range h.machines.names {
		f := flow.Fact{Name: name, Value: h.machines.value(name)}
		if !slices.Contains(h.Info.Environment, f) {
			facts = append(facts, f)
		}
	}
	return facts
}

// Fact returns a fact about the machines of a run: "host kernel", "guest kernel", "guc", ... It is ""
// if it is not known, and lists all values if machines differ.
func (h *History) Fact(name string) string { return allFacts(h).value(name) }

// A Difference is a fact about the machines under test that is not the same in two runs.
type Difference struct {
	Name   string // "host kernel", "guest xe build id", "qemu", ...
	Before string // in the earlier run; "" if it did not record the fact
	Now    string // "" if the run did not record it
}

// Known reports whether both runs recorded the fact.
func (d Difference) Known() bool { return d.Before != "" && d.Now != "" }

// Facts of the environment that repeat others.
var repeated = []string{"uname", "driver"}

const guestPrefix, hostPrefix = "guest ", "host "

// kernelFact reports whether a fact is about a kernel or its modules, so that its name must say
// whose.
func kernelFact(name string) bool {
	return name == "kernel" || strings.HasPrefix(name, "kernel ") || strings.HasSuffix(name, " srcversion") ||
		strings.HasSuffix(name, " build id")
}

// allFacts returns all facts about the machines of a run. The names of facts about the host's kernel
// begin with "host ".
func allFacts(h *History) *machineFacts {
	all := &machineFacts{}
	add := func(name, value string) {
		if kernelFact(name) {
			name = hostPrefix + name
		}
		all.add(name, value)
	}
	environments := [][]flow.Fact{h.Info.Environment}
	for _, d := range h.Info.DUTs {
		environments = append(environments, d.Environment)
	}
	for _, environment := range environments {
		known := slices.ContainsFunc(environment, func(f flow.Fact) bool { return f.Name == "kernel" })
		for _, f := range environment {
			switch words := strings.Fields(f.Value); {
			case f.Name == "uname" && !known && len(words) > 2: // of an older vmtb: "Linux NODE RELEASE ..."
				add("kernel", words[2])
			case !slices.Contains(repeated, f.Name):
				add(f.Name, f.Value)
			}
		}
	}
	for _, name := range h.machines.names {
		for _, value := range h.machines.values[name] {
			add(name, value)
		}
	}
	return all
}

// order returns the place of a fact in a comparison: what changes a result most often comes first.
func order(name string) int {
	of, isGuest := strings.CutPrefix(name, guestPrefix)
	of = strings.TrimPrefix(of, hostPrefix)
	at := slices.Index([]string{"kernel", "kernel version", "kernel build id"}, of)
	switch {
	case at >= 0:
	case strings.HasSuffix(of, " srcversion"), strings.HasSuffix(of, " build id"):
		at = 3
	case of == "guc", of == "qemu":
		return 20
	case of == "kernel debug options", of == "microcode":
		return 21
	default:
		return 22
	}
	if isGuest {
		at += 10
	}
	return at
}

// differences returns the facts that are not the same in two runs, the kernels first. If a kernel is
// another release, its version string and its build id are left out, because they always differ.
func differences(earlier, now *History) []Difference {
	was, is := allFacts(earlier), allFacts(now)
	var out []Difference
	for _, name := range append(slices.Clone(is.names), was.names...) {
		d := Difference{Name: name, Before: was.value(name), Now: is.value(name)}
		if d.Before != d.Now && !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	slices.SortStableFunc(out, func(a, b Difference) int { return cmp.Compare(order(a.Name), order(b.Name)) })
	released := func(whose string) bool {
		return slices.ContainsFunc(out, func(d Difference) bool { return d.Name == whose+"kernel" && d.Known() })
	}
	host, guest := released(hostPrefix), released(guestPrefix)
	return slices.DeleteFunc(out, func(d Difference) bool {
		whose, isGuest := strings.CutPrefix(d.Name, guestPrefix)
		of, isHost := strings.CutPrefix(whose, hostPrefix)
		return (of == "kernel version" || of == "kernel build id") && (isGuest && guest || !isGuest && isHost && host)
	})
}
