package fakehost

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vmtb/bench"
)

// Power says how a fake host can sleep. The fields are the contents of files; "" means that the
// file does not exist.
type Power struct {
	State, MemSleep, Disk string // of /sys/power
	Resume                string // of /sys/power
	Swaps                 string // /proc/swaps
	NoRTC, NoRtcwake      bool

	Fails string // error of the suspend; "" for success
	Awake bool   // the suspend returns at once without a sleep
	// Wake, if set, is called when the host is awake again after a sleep. It may change the host.
	Wake func()
}

// sleeps is the record of a host's sleeps.
type sleeps struct {
	Counted  int
	Clock    time.Duration
	MemSleep string
}

func (h *Host) power(b builder) {
	p := h.o.Power
	if p.State == "" {
		return
	}
	file := func(path, text string) {
		if text != "" {
			b.text(path, text+"\n")
		}
	}
	file("/sys/power/state", p.State)
	file("/sys/power/disk", p.Disk)
	file("/sys/power/resume", p.Resume)
	file("/proc/swaps", p.Swaps)
	file("/sys/power/suspend_stats/success", strconv.Itoa(h.s.Sleeps.Counted))
	if p.Fails != "" {
		file("/sys/power/suspend_stats/last_failed_dev", "0000:03:00.0")
	}
	if !p.NoRTC {
		b.add("/sys/class/rtc/rtc0/wakealarm", node{mode: 0o644, read: func() (string, error) { return "\n", nil }})
	}
	if p.MemSleep != "" {
		b.add("/sys/power/mem_sleep", node{
			mode: 0o644, read: func() (string, error) { return h.memSleep() + "\n", nil },
			write: h.writeMemSleep,
		})
	}
}

func (h *Host) memSleep() string {
	if h.s.Sleeps.MemSleep == "" {
		return h.o.Power.MemSleep
	}
	return h.s.Sleeps.MemSleep
}

func (h *Host) writeMemSleep(text string) error {
	words := strings.Fields(strings.NewReplacer("[", "", "]", "").Replace(h.memSleep()))
	i := slices.Index(words, strings.TrimSpace(text))
	if i < 0 {
		return syscall.EINVAL
	}
	words[i] = "[" + words[i] + "]"
	h.s.Sleeps.MemSleep = strings.Join(words, " ")
	return nil
}

// SleptSinceBoot implements the host's clock.
func (h *Host) SleptSinceBoot() (time.Duration, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.s.Sleeps.Clock, nil
}

// rtcwake plays the program: rtcwake -d rtc0 -m MODE -s SECONDS. The caller holds h.mu.
func (h *Host) rtcwake(args []string) (bench.Result, error) {
	p := h.o.Power
	if p.NoRtcwake {
		return bench.Result{}, &bench.HostError{Op: "run", Noun: "rtcwake", Err: syscall.ENOENT}
	}
	if slices.Equal(args, []string{"--version"}) {
		return bench.Result{}, nil
	}
	failed := func(why string) (bench.Result, error) {
		return bench.Result{ExitCode: 1, Stderr: []byte("rtcwake: " + why + "\n")}, nil
	}
	if len(args) != 6 || args[0] != "-d" || args[2] != "-m" || args[4] != "-s" {
		return failed(fmt.Sprintf("bad usage %q", args))
	}
	seconds, err := strconv.Atoi(args[5])
	if err != nil || !slices.Contains(strings.Fields(p.State), args[3]) {
		return failed("unrecognized suspend state")
	}
	if p.Fails != "" {
		return failed("write error: " + p.Fails)
	}
	if p.Awake {
		return bench.Result{}, nil
	}
	if args[3] != "freeze" { // like hosts whose clock runs in s2idle
		h.s.Sleeps.Clock += time.Duration(seconds) * time.Second
	}
	if args[3] != "disk" {
		h.s.Sleeps.Counted++
	}
	h.nodes = nil
	if p.Wake != nil {
		h.mu.Unlock()
		defer h.mu.Lock()
		p.Wake()
	}
	return bench.Result{}, nil
}
