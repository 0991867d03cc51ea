package main

import (
	"testing"

	"vmtb/flow"
	"vmtb/vmm_flows"
)

// Our flows can be registered together with vmtb's flows, and can be selected like them.
func TestRegister(t *testing.T) {
	r := flow.NewRegistry()
	vmm_flows.Register(r)
	Register(r)
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	items, _, err := r.Select([]string{"acme::TestClock[1VF]"})
	if err != nil || len(items) != 1 || !items[0].Own {
		t.Errorf("%v, %v", items, err)
	}
}
