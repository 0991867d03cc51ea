package vgpu

import "testing"

// Every known GPU has a short name.
func TestCodename(t *testing.T) {
	ids := []uint16{}
	for id := range models {
		ids = append(ids, id)
	}
	for _, f := range families {
		ids = append(ids, f.ids...)
	}
	for _, id := range ids {
		if Codename(id) == "" {
			t.Errorf("%04x has none", id)
		}
	}
	for id, want := range map[uint16]string{
		0xe20b: "bmg", 0xe212: "bmg", 0xb080: "ptl", 0x56c1: "ats-m", 0xd740: "nvl-s", 0x1521: "",
	} {
		if got := Codename(id); got != want {
			t.Errorf("%04x is %q, want %q", id, got, want)
		}
	}
}
