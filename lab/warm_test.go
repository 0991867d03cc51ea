//go:build lab

package lab_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"vmtb/imagebuild"
	"vmtb/internal/progress"
	"vmtb/lab"
)

// TestGoesOn: DUTs that go on from one state are told apart, know the time, have their share, and
// boot when they are reset.
func TestGoesOn(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	look := func(d *dut) {
		t.Helper()
		const script = `cat /proc/sys/kernel/random/boot_id; head -c 16 /dev/urandom | od -An -tx1; date +%s; ls `
		said := strings.Split(strings.TrimSpace(d.must(t.Context(), t, script+d.dir)), "\n")
		if len(said) < 4 || seen[said[0]] || seen[said[1]] {
			t.Fatalf("%q: want an id of its boot and random numbers that no other has: %v", said, seen)
		}
		seen[said[0]], seen[said[1]] = true, true
		now, err := strconv.ParseInt(said[2], 10, 64)
		if err != nil || time.Since(time.Unix(now, 0)).Abs() > 30*time.Second {
			t.Errorf("its time is %s", said[2])
		}
		if !slices.Contains(said[3:], "here") {
			t.Errorf("it does not see its share: %q", said[3:])
		}
	}
	for i := range 2 {
		d := startWith(t, lab.BuildOptions{}, lab.Options{MayReboot: true})
		if err := os.WriteFile(filepath.Join(d.dir, "here"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		look(d)
		if i == 0 {
			continue
		}
		d.must(t.Context(), t, "touch /root/mark; sync")
		if err := d.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		look(d)
		d.must(t.Context(), t, "ls /root/mark /sys/bus/pci/drivers/xe/*:*")
	}
}

// TestBrokenState: a DUT whose state is damaged boots, and says why.
func TestBrokenState(t *testing.T) {
	if !full() {
		t.Skip("make lab-full: it boots twice")
	}
	t.Parallel()
	cache, err := imagebuild.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	p := progress.New(&said, "lab", nil)
	images, err := lab.BuildImages(t.Context(), cache, lab.BuildOptions{}, p)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	link := filepath.Join(dir, "cache", "dut", "dut.img") // states are kept beside it
	if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(images.DUT, link); err != nil {
		t.Fatal(err)
	}
	images.DUT = link
	o := lab.Options{
		Images: images, Dir: filepath.Join(dir, "logs"), Share: dir, Program: os.Getenv("VMTB"), Progress: p,
	}
	_, started, err := o.Spec(t.Context())
	started(nil)
	if err != nil {
		t.Fatal(err)
	}
	states, err := filepath.Glob(filepath.Join(dir, "cache/booted-*/state"))
	if err != nil || len(states) != 1 {
		t.Fatalf("states %q, %v", states, err)
	}
	if err := os.Truncate(states[0], 1<<20); err != nil {
		t.Fatal(err)
	}
	d, err := lab.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close(context.Background()) }()
	if _, err := os.Stat(states[0]); err == nil {
		t.Error("the damaged state is still there")
	}
	if !strings.Contains(said.String(), "the DUT did not come up, booting it once more") {
		t.Errorf("it says %q", said.String())
	}
}
