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

	"vmtb/bench"
	"vmtb/imagebuild"
	"vmtb/internal/progress"
	"vmtb/lab"
)

// TestGoesOn: DUTs that start from one state differ in their identity. Each has the right time and
// its own share, and boots when it is reset.
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

// TestBrokenState: a DUT whose state is damaged boots, and reports the reason.
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
	link := filepath.Join(dir, "cache", "dut", "dut.img") // states are beside the image
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
	if !strings.Contains(said.String(), "the DUT did not boot, so it is booted again") {
		t.Errorf("it says %q", said.String())
	}
}

// TestWarmStarts: machines that start from one state, one after the other, each get their VF, and
// their driver probes it. Each boot id is unique and shows how the machine started.
func TestWarmStarts(t *testing.T) {
	if !full() {
		t.Skip("make lab-full: 500 machines; each warm run of \"make lab-test\" starts some")
	}
	t.Parallel()
	const all, each = 500, 25
	d := startWith(t, lab.BuildOptions{}, lab.Options{})
	bin := d.giveProgram(t)
	d.says(t, 0, "", "vf", "enable", "1")
	const script = `bin=$1 n=$2; shift 2
for i in $(seq "$n"); do
	"$bin" vm start "$@" --warm --vf=1 warm >/dev/null 2>/run/warm.log || { cat /run/warm.log >&2; exit 1; }
	"$bin" vm exec warm -- sh -ec 'ls /sys/bus/pci/drivers/xe/*:*/drm >/dev/null
		cat /proc/sys/kernel/random/boot_id' || exit 1
	"$bin" vm kill warm >/dev/null || exit 1
done`
	seen := map[string]bool{}
	for range all / each {
		began := time.Now()
		c := bench.Command{Argv: []string{
			"sh", "-c", script, "sh", bin, strconv.Itoa(each),
			"--vm-image=" + lab.GuestImage, "--vm-memory=" + strconv.Itoa(d.memory), "--timeout-scale=5",
		}}
		r, err := d.Exec(t.Context(), c)
		if err == nil {
			err = r.Err(c)
		}
		if err != nil {
			t.Fatalf("after %d starts: %v", len(seen), err)
		}
		for id := range strings.Lines(string(r.Stdout)) {
			if !strings.HasPrefix(id, warmBootID) || seen[id] {
				t.Errorf("boot id %q: want one of its own that begins with %s", id, warmBootID)
			}
			seen[id] = true
		}
		t.Logf("%d starts, the last %d in %v", len(seen), each, time.Since(began))
	}
	d.says(t, 0, "", "vf", "disable")
	d.clean(t)
}

// giveProgram copies vmtb into the DUT for scripts, and returns its path.
func (d *dut) giveProgram(t *testing.T) string {
	t.Helper()
	program, err := os.ReadFile(os.Getenv("VMTB"))
	path := filepath.Join(d.dir, "program")
	if err == nil {
		err = os.WriteFile(path, program, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// warmBootID is the prefix of the boot id of a machine that has not booted: "warm" in ASCII.
const warmBootID = "7761726d"
