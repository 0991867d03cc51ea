package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A gpu is the stand-in driver's file standin/gpu_time, which takes the place of a GPU
// (lab/kmod/xe/debugfs.c). The function counts as at work while it is open, and each read from
// offset 0 gives its share of GPU time at that moment in parts per million, or EIO when its work
// was killed. What is written to it is how many microseconds its longest job takes that cannot be
// preempted.
type gpu struct {
	file  *os.File
	dir   string // the device's directory in debugfs
	minor int
}

var (
	errNoGPU  = errors.New("no GPU of the stand-in driver xe found")
	errKilled = errors.New("GPU hang: the engine was reset, or the state of the work was lost")
)

// openGPU takes the device with the lowest DRM minor, which on a host is the PF.
func openGPU(debugfs string) (*gpu, error) {
	found, err := filepath.Glob(filepath.Join(debugfs, "dri/*/standin/gpu_time"))
	if err != nil {
		return nil, err
	}
	g := gpu{minor: math.MaxInt}
	for _, path := range found {
		dir := filepath.Dir(filepath.Dir(path))
		if minor, err := strconv.Atoi(filepath.Base(dir)); err == nil && minor < g.minor {
			g.dir, g.minor = dir, minor
		}
	}
	if g.dir == "" {
		return nil, errNoGPU
	}
	if g.file, err = os.OpenFile(filepath.Join(g.dir, "standin/gpu_time"), os.O_RDWR, 0); err != nil {
		return nil, err
	}
	return &g, nil
}

func (g *gpu) close() { g.file.Close() }

// rigid tells how long the longest job takes that cannot be preempted.
func (g *gpu) rigid(job time.Duration) error {
	_, err := fmt.Fprintf(g.file, "%d", job.Microseconds())
	return err
}

// share is the function's share of GPU time, from 0 to 1.
func (g *gpu) share() (float64, error) {
	var buf [32]byte
	// once: os.File would go on reading, when the share may be another
	n, err := syscall.Pread(int(g.file.Fd()), buf[:], 0)
	if errors.Is(err, syscall.EIO) {
		return 0, errKilled
	}
	if err != nil {
		return 0, err
	}
	text := strings.TrimSpace(string(buf[:n]))
	ppm, err := strconv.ParseUint(text, 10, 32)
	if err != nil || ppm > 1e6 {
		return 0, fmt.Errorf("%s: %q is not a share in parts per million", g.file.Name(), text)
	}
	return float64(ppm) / 1e6, nil
}

// hasGT reports whether the device has GT n.
func (g *gpu) hasGT(n int) bool {
	_, err := os.Stat(filepath.Join(g.dir, "tile0", "gt"+strconv.Itoa(n)))
	return err == nil
}
