package xe_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/bench/pci"
	"vmtb/bench/xe"
	"vmtb/internal/fake/fakehost"
)

func TestGuestDriver(t *testing.T) {
	s := newSetup(t, fakehost.BMG())
	m := host.New(s.Host)
	got, err := xe.DriverBound(t.Context(), m, "xe")
	if diff := cmp.Diff([]pci.Address{"0000:03:00.0"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if err := xe.CheckDriver(t.Context(), m, "xe"); err != nil {
		t.Error(err)
	}
	for _, driver := range []string{"i915", "xe-vfio-pci"} { // the first is not loaded, the second not in use
		var ge *bench.GuestError
		if err := xe.CheckDriver(t.Context(), m, driver); !errors.As(err, &ge) ||
			!strings.Contains(err.Error(), "no device is bound to it") {
			t.Errorf("CheckDriver(%s): %v", driver, err)
		}
	}
}
