package xe

import "fmt"

// A Plan is what a PF is to be provisioned as.
type Plan struct {
	VFs int // how many VFs will be enabled

	// Quota is the share of every VF. nil is automatic provisioning: the kernel gives fair shares on enabling.
	Quota *Resources
	Spare Resources // what is kept for the PF; only with a Quota

	// Scheduling is written before VFs are enabled, and its time slices once more after that: in automatic mode drivers of
	// Linux 7.3 give the PF and all VFs 16 ms and 16000 us if nothing else was set. The zero value is infinite slices and low
	// priority.
	Scheduling Scheduling
	Security   Security // only with a Quota; the zero value is off
}

// Auto is the plan for n VFs with the kernel's fair shares.
func Auto(n int) Plan { return Plan{VFs: n} }

// Resources are a VF's hard quotas, or the PF's spares. Contexts and doorbells count on each GT.
type Resources struct {
	GGTT      uint64 `json:"ggtt"`     // bytes of the global graphics address space
	VRAM      uint64 `json:"vram"`     // bytes of local memory; 0 where there is none
	Contexts  uint64 `json:"contexts"` // GuC context ids
	Doorbells uint64 `json:"doorbells"`
}

// Scheduling is how GPU time is shared.
type Scheduling struct {
	PF, VF         TimeSlice // VF is for each VF
	ScheduleIfIdle bool      // idle VFs keep their time slice: strict sharing
}

// A TimeSlice is what one function gets before the next one's turn. 0 is infinite.
type TimeSlice struct {
	Quantum uint64 `json:"exec_quantum_ms"`    // execution quantum (EQ), ms
	Timeout uint64 `json:"preempt_timeout_us"` // preemption timeout (PT), us, after which an engine is reset
}

func (t TimeSlice) String() string { return fmt.Sprintf("EQ %d ms, PT %d us", t.Quantum, t.Timeout) }

// Security are the firmware's counter-measures against a VF that misbehaves. The zero value is off.
type Security struct {
	ResetAfterSwitch bool   // engine reset on each switch of VFs
	SamplePeriod     uint64 // ms; how often the counters are looked at
	Thresholds       Thresholds
}

// Thresholds of adverse events in one period; 0 is off: numbers of events, and
// microseconds where the driver's file, threshold_*, says us.
type Thresholds struct {
	CATError     uint64 `json:"cat_error_count"`
	EngineReset  uint64 `json:"engine_reset_count"`
	PageFault    uint64 `json:"page_fault_count"`
	GuCTime      uint64 `json:"guc_time_us"`
	IRQTime      uint64 `json:"irq_time_us"`
	DoorbellTime uint64 `json:"doorbell_time_us"`
	MultiLRC     uint64 `json:"multi_lrc_count"` // since Linux 7.0
}

const (
	pageSize   = 4 << 10  // GGTT quotas are rounded up to it
	largePage  = 64 << 10 // so they are on ATS-M (pf_get_ggtt_alignment)
	vramAlign  = 2 << 20  // VRAM quotas are rounded up to it
	maxGGTT    = 4 << 30  // the GGTT's allocator counts in 32 bits; from here on the kernel misbehaves
	maxQuantum = 100_000
	maxTimeout = 100_000_000
)

func roundUp(n, to uint64) uint64 { return (n + to - 1) / to * to }
