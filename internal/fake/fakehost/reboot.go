package fakehost

// Reboot resets the host to its first state, except for the files on its disks.
func (h *Host) Reboot() {
	h.mu.Lock()
	defer h.mu.Unlock()
	files, dirs := h.s.Files, h.s.Dirs
	h.s = newState(h.o)
	h.s.Files, h.s.Dirs = files, dirs
	h.nodes, h.fixed = nil, nil
	for _, m := range h.o.Loaded {
		h.load(m)
	}
	h.freed.Broadcast()
}
