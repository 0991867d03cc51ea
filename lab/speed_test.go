package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTimeoutScale(t *testing.T) {
	for seconds, want := range map[float64]float64{0: 5, 0.5: 2, 6.1: 3, 16: 6, 45: 15, 500: 40} {
		s := Speed{Boots: []Boot{{Guests: 2, Seconds: 1000}, {Guests: 1, Seconds: seconds}}}
		if got := s.TimeoutScale(); got != want {
			t.Errorf("a guest in %g s: %g, want %g", seconds, got, want)
		}
	}
	if got := (Speed{}).TimeoutScale(); got != usualScale {
		t.Errorf("not measured: %g", got)
	}
}

func TestBootLimit(t *testing.T) {
	for dut, want := range map[float64]time.Duration{
		0: 150 * time.Second, 15.9: 150 * time.Second, 60: 8 * time.Minute,
	} {
		if got := (Speed{DUT: dut}).BootLimit(); got != want {
			t.Errorf("a DUT in %g s: %v, want %v", dut, got, want)
		}
	}
}

func TestMedian(t *testing.T) {
	values := []float64{9, 1, 5}
	if got := Median(values); got != 5 || values[0] != 9 {
		t.Errorf("%g, and the values are %v", got, values)
	}
	if got := Median(nil); got != 0 {
		t.Errorf("of none: %g", got)
	}
}

// A later run reads the saved measurement. Without one, deadlines are the usual ones. A malformed
// file is reported.
func TestSpeedIsKept(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	if s, err := MeasuredSpeed(); err != nil || s.TimeoutScale() != usualScale {
		t.Errorf("nothing measured: %+v, %v", s, err)
	}
	want := Speed{Measured: time.Now().Truncate(time.Second).UTC(), DUT: 30, Boots: []Boot{{1, 20, 16}}}
	if err := want.Save(); err != nil {
		t.Fatal(err)
	}
	got, err := MeasuredSpeed()
	if err != nil || !got.Measured.Equal(want.Measured) || got.DUT != 30 || len(got.Boots) != 1 ||
		got.Boots[0] != want.Boots[0] {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	if err := os.WriteFile(filepath.Join(cache, "vmtb", "lab", speedFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := MeasuredSpeed(); err == nil || !strings.Contains(err.Error(), "vmtb lab speed") {
		t.Errorf("a broken file: %v", err)
	}
}
