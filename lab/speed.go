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
	"vmtb/internal/procfs"
)

// A Boot is what it took to boot guests in the lab, all at once, until their agents answered.
type Boot struct {
	Guests  int     `json:"guests"`
	Seconds float64 `json:"seconds"`     // by this machine's clock
	CPU     float64 `json:"cpu_seconds"` // of the DUT's QEMU: other programs on this machine change it less
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
	if err := copyFile(bin, d.program, 0o755); err != nil {
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

// A Speed is how fast guests boot in the lab on this machine, as it was measured last.
type Speed struct {
	Measured time.Time `json:"measured"`
	DUT      float64   `json:"dut_seconds"` // from QEMU's start until the DUT's agent answers
	Boots    []Boot    `json:"boots"`
}

// speedFile is beside the lab's images: both belong to this machine.
const speedFile = "speed.json"

// Save keeps s for the runs to come.
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

// MeasuredSpeed returns what was saved last, and the zero Speed if nothing was.
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

// Of returns the seconds, and the CPU seconds, of each boot of so many guests.
func (s Speed) Of(guests int) (seconds, cpu []float64) {
	for _, b := range s.Boots {
		if b.Guests == guests {
			seconds, cpu = append(seconds, b.Seconds), append(cpu, b.CPU)
		}
	}
	return seconds, cpu
}

// Guest returns how many seconds one guest took to boot, the median of what was measured; 0 if nothing was.
func (s Speed) Guest() float64 {
	seconds, _ := s.Of(1)
	return Median(seconds)
}

// BootLimit returns how long a DUT may take to boot: eight times what it took when it was measured,
// but not less than what a machine has on which nothing was measured.
func (s Speed) BootLimit() time.Duration {
	return max(usualBootLimit, time.Duration(8*s.DUT)*time.Second)
}

// usualBootLimit is seven times what a DUT takes on the machine that vmtb is developed on.
const usualBootLimit = 150 * time.Second

// Median returns the middle of values, the upper one of two; 0 if there are none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// Deadlines of flows are made for guests that boot in a few seconds. In the lab they are multiplied
// by usualScale if nobody has measured a boot, else by the seconds of a boot divided by
// secondsEach, within limits.
const (
	usualScale    = 5.0
	leastScale    = 2.0
	greatestScale = 40.0
	secondsEach   = 3.0
)

// TimeoutScale returns what multiplies the deadlines of a run in the lab on this machine.
func (s Speed) TimeoutScale() float64 {
	boot := s.Guest()
	if boot <= 0 {
		return usualScale
	}
	return min(max(math.Ceil(boot/secondsEach), leastScale), greatestScale)
}
