package imagebuild

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"vmtb/bench"
)

func TestPickMirror(t *testing.T) {
	tests := []struct{ name, targets, want string }{
		{
			"Debian 12", "Debian bookworm-security http://m/debian-security/\nDebian bookworm http://m/debian/\n",
			"http://m/debian",
		},
		{
			"backports first", "Debian bookworm-backports http://b/\nDebian bookworm http://m/debian/\n",
			"http://m/debian",
		},
		{"Ubuntu", "Ubuntu noble http://u/ubuntu/\n", ""},
		{"nothing", "", ""},
		{"torn", "Debian bookworm", ""},
	}
	for _, tt := range tests {
		if got := pickMirror(tt.targets); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func FuzzPickMirror(f *testing.F) {
	f.Add("Debian bookworm http://m/debian/\n")
	f.Fuzz(func(t *testing.T, targets string) {
		if m := pickMirror(targets); m != "" && !strings.Contains(targets, m) {
			t.Errorf("%q is not in %q", m, targets)
		}
	})
}

// TestMirrorInterrupted: an interrupt by the user is not reported as a failure of apt-get.
func TestMirrorInterrupted(t *testing.T) {
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready")
	if err := syscall.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho >" + ready + "\nexec sleep 60\n"
	if err := os.WriteFile(filepath.Join(dir, "apt-get"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv(mirrorVariable, "")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = os.ReadFile(ready) // wait until it has begun
		cancel()
	}()
	if _, err := debianMirror(ctx); err == nil || err.Error() != context.Canceled.Error() {
		t.Errorf("got %v, want that it was cancelled", err)
	}
}

func TestReadPackages(t *testing.T) {
	list, err := scripts.ReadFile("image/packages")
	if err != nil {
		t.Fatal(err)
	}
	got := readPackages(string(list))
	for _, want := range []string{"linux-image-amd64/backports", "linux-headers-amd64/backports", "qemu-guest-agent"} {
		found := false
		for _, p := range got {
			found = found || p == want
			if strings.ContainsAny(p, " :#") {
				t.Errorf("%q is no package", p)
			}
		}
		if !found {
			t.Errorf("%s is not in %v", want, got)
		}
	}
}

func TestCheckPackages(t *testing.T) {
	if err := CheckPackages([]string{"python3-pytest", "g++", "intel-gpu-tools/forky"}); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "-x", "a b", "a,b", "Python", "x=1", "igt/sid", "../x"} {
		if err := CheckPackages([]string{"strace", bad}); !errors.As(err, new(*bench.UsageError)) {
			t.Errorf("%q: %v, want a UsageError", bad, err)
		}
	}
}

// A file appears only when it is complete. If the move is cancelled, its unfinished copy is
// removed.
func TestMoveTo(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(t.TempDir(), "from"), filepath.Join(dir, "to")
	if err := os.WriteFile(from, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := moveTo(ctx, from, to); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
	if err := moveTo(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(to); err != nil || string(text) != "new" {
		t.Errorf("got %q, %v", text, err)
	}
	if err := os.Mkdir(filepath.Join(dir, "taken"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := moveTo(t.Context(), from, filepath.Join(dir, "taken")); !errors.As(err, new(*bench.UsageError)) {
		t.Errorf("%v, want a UsageError", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("there is %v, %v", entries, err)
	}
}

// apt refuses two different lines about one release.
func TestPackageSources(t *testing.T) {
	for _, c := range []struct{ release, packages, want string }{
		{suite, "linux", suite + " " + igtSuite},
		{suite, "linux/" + suite + "-backports", suite + " " + igtSuite + " " + suite + "-backports"},
		{igtSuite, "linux", igtSuite},
		{"sid", "linux", "sid"},
	} {
		var got []string
		for _, line := range packageSources("mirror", c.release, []string{c.packages}) {
			_, after, _ := strings.Cut(line, "] mirror ")
			got = append(got, strings.TrimSuffix(after, " main"))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s, %s: from %q, want %s", c.release, c.packages, got, c.want)
		}
	}
	for release, want := range map[string]string{
		suite: "igt/forky linux/trixie-backports", igtSuite: "igt linux", "sid": "igt linux",
	} {
		got := (NewGuest{Suite: release, Packages: []string{"igt/forky", "linux/backports"}}).packages("")
		if strings.Join(got, " ") != want {
			t.Errorf("%s: packages %q, want %s", release, got, want)
		}
	}
	// Trixie's own kernel, 6.12, cannot drive a VF in a guest.
	list, err := scripts.ReadFile("image/debian-packages")
	if got := (NewGuest{Suite: suite}).packages(string(list)); err != nil ||
		!slices.Contains(got, "linux-image-amd64/trixie-backports") {
		t.Errorf("packages %q, %v: want the kernel of trixie-backports", got, err)
	}
}
