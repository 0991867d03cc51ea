package vgpu

import "slices"

// codenames maps the names of families of GPUs in models and families to short names of kernel
// developers.
var codenames = map[string]string{
	"Bmg_g21_12": "bmg", "Bmg_g21_16": "bmg", "Battlemage": "bmg", "Flex170": "ats-m", "ATS-M75": "ats-m", "Ptl": "ptl",
	"Nova Lake S": "nvl-s", "Nova Lake P": "nvl-p", "Crescent Island": "cri",
}

// Codename returns the short name of the family of the GPU with the given PCI device id, like
// "bmg", or "" if it is unknown.
func Codename(device uint16) string {
	if name, ok := models[device]; ok {
		return codenames[name]
	}
	for _, f := range families {
		if slices.Contains(f.ids, device) {
			return codenames[f.name]
		}
	}
	return ""
}
