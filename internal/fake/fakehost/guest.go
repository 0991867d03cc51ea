package fakehost

import "strconv"

// GuestState returns the state of a VF's guest in each GT. A migration moves it.
func (h *Host) GuestState(vf int) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []string
	for _, g := range h.s.Functions[vf].GTs {
		list = append(list, g.Guest)
	}
	return list
}

// SetGuestState changes the state of a VF's guest in every GT, like a guest at work.
func (h *Host) SetGuestState(vf int, state string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for gt := range h.s.GTs {
		h.s.Functions[vf].GTs[gt].Guest = state + " on gt" + strconv.Itoa(gt)
	}
}
