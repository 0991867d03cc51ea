package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"vmtb/bench"
	"vmtb/imagebuild"
	"vmtb/internal/atomicfile"
	"vmtb/internal/filecopy"
	"vmtb/internal/procfs"
)

// A Boot is the time to boot guests in the lab, all at once, until their agents answered.
type Boot struct {
	Guests  int     `json:"guests"`
	Seconds float64 `json:"seconds"` // by this machine's clock
	// Of the DUT's QEMU; depends less on other programs on this machine.
	CPU float64 `json:"cpu_seconds"`
}

// TimeBoot boots guests without VFs in the DUT, all at once, and ends them again.
func (d *DUT) TimeBoot(ctx context.Context, guests int) (Boot, error) {
	const line = `bin=$1 n=$2 mib=$3 img=$4 scale=$5 jobs=
export VMTB_STATE_DIR=/run/vmtb-speed
for i in $(seq "$n"); do
	"$bin" vm start --vm-image="$img" --vm-memory="$mib" --timeout-scale="$scale" "speed$i" \
		>/dev/null 2>"/run/speed$i.log" &
	jobs="$jobs $!"
done
for j in $jobs; do
	wait "$j" || { tail -qn1 /run/speed*.log >&2; exit 1; }
done`
	const end = `VMTB_STATE_DIR=/run/vmtb-speed "$1" vm kill --all >/dev/null`
	bin := filepath.Join(d.share, givenProgram)
	if err := filecopy.Copy(bin, d.program, 0o755); err != nil {
		return Boot{}, infra("give vmtb to the DUT", err)
	}
	before, err := procfs.Read(d.PID())
	if err != nil {
		return Boot{}, infra("read the CPU time of the DUT's QEMU", err)
	}
	start := time.Now()
	err = d.run(ctx, line, bin, strconv.Itoa(guests), strconv.Itoa(GuestMiB), GuestImage,
		fmt.Sprint(greatestScale))
	took := time.Since(start)
	after, err2 := procfs.Read(d.PID())
	if err := errors.Join(err, err2, d.run(context.WithoutCancel(ctx), end, bin)); err != nil {
		return Boot{}, infra(fmt.Sprintf("boot guests in the DUT, %d at once", guests), err)
	}
	return Boot{Guests: guests, Seconds: took.Seconds(), CPU: (after.CPU() - before.CPU()).Seconds()}, nil
}

// A Speed is the last measurement of how fast guests boot in the lab on this machine.
type Speed struct {
	Measured time.Time `json:"measured"`
	DUT      float64   `json:"dut_seconds"` // from QEMU's start until the DUT's agent answers
	Boots    []Boot    `json:"boots"`
}

// speedFile is in the same directory as the lab's images: both belong to this machine.
const speedFile = "speed.json"

// Save saves s for later runs.
func (s Speed) Save() error {
	dir, err := imagebuild.CacheDir()
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = atomicfile.WriteFile(filepath.Join(dir, speedFile), append(data, '\n'), 0o644)
	}
	if err != nil {
		return &bench.InfraError{Op: "keep the lab's speed", Err: err}
	}
	return nil
}

// MeasuredSpeed returns the last saved Speed, or the zero Speed if none was saved.
func MeasuredSpeed() (s Speed, err error) {
	dir, err := imagebuild.CacheDir()
	if err != nil {
		return s, err
	}
	data, err := os.ReadFile(filepath.Join(dir, speedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		return Speed{}, &bench.InfraError{
			Op: "read the lab's speed", Err: err, Advice: "vmtb lab speed measures it again",
		}
	}
	return s, nil
}

// Of returns the seconds, and the CPU seconds, of each boot with this number of guests.
func (s Speed) Of(guests int) (seconds, cpu []float64) {
	for _, b := range s.Boots {
		if b.Guests == guests {
			seconds, cpu = append(seconds, b.Seconds), append(cpu, b.CPU)
		}
	}
	return seconds, cpu
}

// Guest returns how many seconds one guest took to boot: the median of the measurements, or 0
// without one.
func (s Speed) Guest() float64 {
	seconds, _ := s.Of(1)
	return Median(seconds)
}

// BootLimit returns how long a DUT may take to boot. It is eight times the measured time, but not
// less than usualBootLimit.
func (s Speed) BootLimit() time.Duration {
	return max(usualBootLimit, time.Duration(8*s.DUT)*time.Second)
}

// usualBootLimit is seven times the boot time of a DUT on vmtb's development machine.
const usualBootLimit = 150 * time.Second

// Median returns the middle of values, or the upper one of two. It returns 0 if there are none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// The deadlines of flows are for guests that boot in a few seconds. In the lab they are multiplied
// by usualScale if no boot was measured. Otherwise the factor is the seconds of a boot divided by
// secondsEach, within limits.
const (
	usualScale    = 5.0
	leastScale    = 2.0
	greatestScale = 40.0
	secondsEach   = 3.0
)

// TimeoutScale returns the factor for the deadlines of a run in the lab on this machine.
func (s Speed) TimeoutScale() float64 {
	boot := s.Guest()
	if boot <= 0 {
		return usualScale
	}
	return min(max(math.Ceil(boot/secondsEach), leastScale), greatestScale)
}
