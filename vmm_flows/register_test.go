package vmm_flows_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vmtb/flow"
	"vmtb/vmm_flows"
)

// All flows of the Python tool are here, under the same ids and in its order
// (testdata/upstream-ids.txt). All other flows are marked as vmtb's own.
func TestUpstreamIDs(t *testing.T) {
	data, err := os.ReadFile("testdata/upstream-ids.txt")
	if err != nil {
		t.Fatal(err)
	}
	r := flow.NewRegistry()
	vmm_flows.Register(r)
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	ours := map[bool][]string{}
	for _, it := range r.Items() {
		file, rest, _ := strings.Cut(it.Name, "::")
		ours[it.Own] = append(ours[it.Own], file+".py::"+rest)
	}
	if diff := cmp.Diff(strings.Split(strings.TrimSpace(string(data)), "\n"), ours[false]); diff != "" {
		t.Errorf("(-the Python tool +ours)\n%s", diff)
	}
	if len(ours[true]) == 0 {
		t.Error("nothing is our own")
	}
}
