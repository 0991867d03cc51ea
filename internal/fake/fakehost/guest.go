package fakehost

import "strconv"

// GuestState returns what a VF's guest has in each GT. A migration carries it.
func (h *Host) GuestState(vf int) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []string
	for _, g := range h.s.Functions[vf].GTs {
		list = append(list, g.Guest)
	}
	return list
}

// SetGuestState changes what a VF's guest has in every GT, as a guest at work does.
func (h *Host) SetGuestState(vf int, state string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for gt := range h.s.GTs {
		h.s.Functions[vf].GTs[gt].Guest = state + " on gt" + strconv.Itoa(gt)
	}
}
