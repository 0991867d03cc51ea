package pick

import (
	"strconv"

	"vmtb/bench"
	"vmtb/bench/xe"
	"vmtb/internal/prose"
)

// GPU returns the selector of the PF that a configuration names.
func GPU(c bench.HostConfig) xe.Selector {
	return xe.Selector{Card: c.CardIndex, Address: c.PCIAddress, Driver: c.Driver}
}

// DescribePF returns a line like "card0 0000:03:00.0 (8086:e20b), 24 VFs".
func DescribePF(pf *xe.PF) string {
	s := "card" + strconv.Itoa(pf.Card) + " " + string(pf.Address)
	if ids, err := pf.IDs(); err == nil {
		s += " (" + ids.String() + ")"
	}
	if n, err := pf.TotalVFs(); err == nil {
		s += ", " + prose.Count(n, "VF")
	}
	return s
}
