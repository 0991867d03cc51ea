//go:build lab

package lab_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vmtb/bench"
	"vmtb/internal/progress"
	"vmtb/lab"
)

// TestGoesOn: DUTs that go on from one state are told apart, know the time, have their share, and boot when they are reset.
func TestGoesOn(t *testing.T) {
	t.Parallel()
	const script = `cat /proc/sys/kernel/random/boot_id; head -c 16 /dev/urandom | od -An -tx1; date +%s; uptime -s`
	seen := map[string]bool{}
	look := func(d *dut) {
		t.Helper()
		said := d.output(t, script)
		if len(said) != 4 || seen[said[0]] || seen[said[1]] {
			t.Errorf("%q: want an id of its boot and random numbers that no other has: %v", said, seen)
		}
		seen[said[0]], seen[said[1]] = true, true
		if now, err := time.ParseDuration(said[2] + "s"); err != nil || time.Since(time.Unix(int64(now.Seconds()), 0)).Abs() > 30*time.Second {
			t.Errorf("its time is %s", said[2])
		}
	}
	for range 2 {
		d := startWith(t, lab.BuildOptions{}, lab.Options{MayReboot: true})
		look(d)
		if err := os.WriteFile(filepath.Join(d.dir, "here"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if said := d.output(t, "ls "+d.dir+"; touch /root/mark; sync; ls /sys/bus/pci/drivers/xe"); !strings.Contains(strings.Join(said, " "), "here") {
			t.Errorf("it does not see its share: %q", said)
		}
		if len(seen) < 4 {
			continue
		}
		if err := d.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		look(d)
		if said := d.output(t, "ls "+d.dir+" /root/mark"); !strings.Contains(strings.Join(said, " "), "here") {
			t.Errorf("it does not see its share after a reset: %q", said)
		}
	}
}

// output runs a script in the DUT and returns the lines that it prints.
func (d *dut) output(t *testing.T, script string) []string {
	t.Helper()
	c := bench.Shell(script)
	r, err := d.Exec(t.Context(), c)
	if err == nil {
		err = r.Err(c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(r.Stdout)), "\n")
}

// TestBrokenState: a DUT whose state is damaged boots, and says why.
func TestBrokenState(t *testing.T) {
	if !full() {
		t.Skip("make lab-full: it boots twice")
	}
	t.Parallel()
	cache, err := lab.CacheDir()
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
	o := lab.Options{Images: images, Dir: filepath.Join(dir, "logs"), Share: dir, Program: os.Getenv("VMTB"), Progress: p}
	_, release, err := o.Spec(t.Context())
	release()
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
