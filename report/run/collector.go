package run

import "vmtb/flow"

// A Collector is a report that is written after the last entry.
type Collector struct {
	// Write writes the report. It is called once, and not if there was no run.
	Write func(*History) error

	h *History
}

// Start begins the run.
func (c *Collector) Start(info flow.Info) { c.h = New(info) }

// Entry takes the next entry of the journal.
func (c *Collector) Entry(e flow.Entry) { c.h.Add(e) }

// Close writes the report.
func (c *Collector) Close() error {
	if c.h == nil {
		return nil
	}
	c.h.Finish()
	return c.Write(c.h)
}
