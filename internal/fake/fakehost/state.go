package fakehost

import (
	"cmp"
	"maps"
	"slices"
)

// state is everything that can change, as plain data. A snapshot is its JSON.
type state struct {
	Loaded    []string // modules, sorted
	Files     map[string]string
	Dirs      []string
	Processes map[int]process

	NumVFs    int
	Autoprobe bool
	Custom    bool       // provisioning mode
	Functions []function // 0 is the PF, M is VF M
	GGTTSpare uint64     // as set; 0 is the minimum
	VRAMSpare uint64
	GTs       []gt
	Sleeps    sleeps
}

// function is the driver and the resources of a PCI function.
type function struct {
	Driver, Override string
	GGTT             span
	VRAM             uint64
	GTs              []share
	Out, In          []byte // an unread save; an incomplete packet of a restore
	// A driver of the VF has agreed on a version with the PF since the last reset.
	Agreed   bool
	VF       vfState
	Register uint32 // a register that only the VF's driver uses
}

// share is a function's part of one GT.
type share struct {
	Contexts, Doorbells span
	// Numbers are exec_quantum_ms, preempt_timeout_us, sched_priority, threshold_*; 0 when missing.
	Numbers map[string]uint64

	Control  control // a VF's
	Stoppers uint8   // resfix_stoppers
	Guest    string  // state of the VF's guest in the GT
}

// gt holds the policies of one GT.
type gt struct {
	// Reset_engine, sched_if_idle, sample_period_ms, contexts_spare, doorbells_spare (as set).
	Numbers map[string]uint64
}

type process struct {
	Comm      string
	StartTime uint64
	Open      []string // the files that the process has open
}

func newState(o Options) state {
	s := state{
		Autoprobe: true, Files: map[string]string{}, Processes: map[int]process{}, Dirs: []string{}, Loaded: []string{},
	}
	s.GTs = make([]gt, o.GTs)
	for i := range s.GTs {
		s.GTs[i].Numbers = map[string]uint64{}
	}
	s.Functions = make([]function, o.TotalVFs+1)
	for i := range s.Functions {
		s.Functions[i].GTs = make([]share, o.GTs)
		for g := range s.Functions[i].GTs {
			s.Functions[i].GTs[g].Numbers = map[string]uint64{}
		}
	}
	return s
}

// clear removes the function's resources. The priority is a policy of the GT and stays.
func (f *function) clear() {
	f.GGTT, f.VRAM = span{}, 0
	for i := range f.GTs {
		f.GTs[i].Contexts, f.GTs[i].Doorbells = span{}, span{}
		maps.DeleteFunc(f.GTs[i].Numbers, func(name string, _ uint64) bool { return name != "sched_priority" })
	}
}

// set keeps zeros out of the map, so that equal states have equal snapshots.
func set(m map[string]uint64, name string, v uint64) {
	if v == 0 {
		delete(m, name)
	} else {
		m[name] = v
	}
}

// span is a contiguous range; Size 0 means none.
type span struct{ Start, Size uint64 }

func (s span) end() uint64 { return s.Start + s.Size }

// holes returns the free parts of [from, to), ascending.
func holes(from, to uint64, used []span) []span {
	slices.SortFunc(used, func(a, b span) int { return cmp.Compare(a.Start, b.Start) })
	var free []span
	for _, u := range append(used, span{to, 1}) {
		if u.Size == 0 {
			continue
		}
		if u.Start > from {
			free = append(free, span{from, u.Start - from})
		}
		from = u.end()
	}
	return free
}
