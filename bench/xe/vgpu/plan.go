package vgpu

import (
	"fmt"

	"vmtb/bench"
)

// A Plan is the target state of a PF's provisioning.
type Plan struct {
	VFs int // how many VFs will be enabled

	// Quota is the share of every VF. nil is automatic provisioning: the kernel gives fair shares
	// when VFs are enabled.
	Quota *Resources
	Spare Resources // kept for the PF; only with a Quota

	// Scheduling is written before VFs are enabled. Its time slices are written again after that.
	// In automatic mode, drivers of Linux 7.3 give the PF and all VFs 16 ms and 16000 us if nothing
	// else was set. The zero value is infinite time slices and low priority.
	Scheduling Scheduling
	Security   Security // only with a Quota; the zero value is off
}

// Auto returns the plan for n VFs with the kernel's fair shares.
func Auto(n int) Plan { return Plan{VFs: n} }

// Resources are a VF's hard quotas, or the PF's spares. Contexts and doorbells count on each GT.
type Resources struct {
	GGTT      uint64 `json:"ggtt"`     // bytes of the global graphics address space
	VRAM      uint64 `json:"vram"`     // bytes of local memory; 0 where there is none
	Contexts  uint64 `json:"contexts"` // GuC context ids
	Doorbells uint64 `json:"doorbells"`
}

const (
	// Bytes; the GGTT's allocator counts in 32 bits: larger values confuse the kernel.
	maxGGTT  = 4 << 30
	ggttPage = 4 << 10 // bytes; the driver rounds GGTT quotas up to it at least
)

// Check returns an error if a VF cannot have these quotas. The driver would accept them, and then
// report other values to the firmware than it allocates.
func (r Resources) Check() error {
	if r.GGTT > maxGGTT-ggttPage {
		return &bench.UsageError{Err: fmt.Errorf("GGTT quota of %d bytes: must be less than 4 GiB", r.GGTT)}
	}
	return nil
}

// Scheduling says how GPU time is shared.
type Scheduling struct {
	PF, VF         TimeSlice // VF is for each VF
	ScheduleIfIdle bool      // idle VFs keep their time slice: strict sharing
}

// A TimeSlice is the GPU time of one function before the next one's turn. 0 is infinite.
type TimeSlice struct {
	Quantum uint64 `json:"exec_quantum_ms"` // execution quantum (EQ), ms
	// Preemption timeout (PT), us, after which an engine is reset.
	Timeout uint64 `json:"preempt_timeout_us"`
}

func (t TimeSlice) String() string { return fmt.Sprintf("EQ %d ms, PT %d us", t.Quantum, t.Timeout) }

// Security is the firmware's counter-measures against a VF that misbehaves. The zero value is off.
type Security struct {
	ResetAfterSwitch bool   // engine reset on each switch of VFs
	SamplePeriod     uint64 // ms; how often the firmware checks its counters
	Thresholds       Thresholds
}

// Thresholds of adverse events in one period; 0 is off. They are numbers of events, or microseconds
// where the driver's file threshold_* ends in _us. Kernel source:
// xe_guc_klv_thresholds_set_types.h.
type Thresholds struct {
	CATError     uint64 `json:"cat_error_count"`
	EngineReset  uint64 `json:"engine_reset_count"`
	PageFault    uint64 `json:"page_fault_count"`
	GuCTime      uint64 `json:"guc_time_us"`
	IRQTime      uint64 `json:"irq_time_us"`
	DoorbellTime uint64 `json:"doorbell_time_us"`
	MultiLRC     uint64 `json:"multi_lrc_count"` // since Linux 7.0
}

// A Counter is a kind of adverse event.
type Counter struct {
	Name  string // in the driver's files: "cat_error_count"
	Value *uint64
}

// Counters lists all kinds of adverse events, with pointers to their values in t.
func (t *Thresholds) Counters() []Counter {
	return []Counter{
		{"cat_error_count", &t.CATError},
		{"engine_reset_count", &t.EngineReset},
		{"page_fault_count", &t.PageFault},
		{"guc_time_us", &t.GuCTime},
		{"irq_time_us", &t.IRQTime},
		{"doorbell_time_us", &t.DoorbellTime},
		{"multi_lrc_count", &t.MultiLRC},
	}
}

// Add adds the values of o to those of t.
func (t *Thresholds) Add(o Thresholds) {
	others := o.Counters()
	for i, c := range t.Counters() {
		*c.Value += *others[i].Value
	}
}

// Named returns the values that are not 0, by the driver's names.
func (t *Thresholds) Named() map[string]uint64 {
	m := map[string]uint64{}
	for _, c := range t.Counters() {
		if *c.Value > 0 {
			m[c.Name] = *c.Value
		}
	}
	return m
}
