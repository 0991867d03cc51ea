package bench

import (
	"encoding/json"
	"strings"
	"testing"
)

// A configuration file may shorten an address: reading completes it. The error for a wrong address
// names its place.
func TestPCIAddressInConfig(t *testing.T) {
	for text, want := range map[string]PCIAddress{"": "", "3:0.0": "0000:03:00.0", "10000:E1:00.0": "10000:e1:00.0"} {
		c, err := ParseConfig("c.json", []byte(`{"host": {"pci_address": "`+text+`"}}`))
		if err != nil || c.Host.PCIAddress != want {
			t.Errorf("%q: %v, want %q", text, err, want)
			continue
		}
		data, err := json.Marshal(c.Host)
		if err != nil || !strings.Contains(string(data), `"pci_address":"`+string(want)+`"`) {
			t.Errorf("%q: %s, %v", text, data, err)
		}
	}
	_, err := ParseConfig("c.json", []byte(`{"host": {"pci_address": "3"}}`))
	const says = `host.pci_address: PCI address "3": not of the form 0000:03:00.0`
	if err == nil || !strings.HasPrefix(err.Error(), "c.json:1:") || !strings.Contains(err.Error(), says) {
		t.Errorf("%v, want %q", err, says)
	}
}
