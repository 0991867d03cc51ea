package imagebuild

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"vmtb/bench"
)

const (
	// suite is the Debian release of the DUT and its guests, with QEMU 10.0.
	suite = "trixie"
	// igtSuite is the release of packages that are marked with it. Older releases have neither
	// IGT's tests nor its runner.
	igtSuite = "forky"
	keyring  = "/usr/share/keyrings/debian-archive-keyring.gpg"

	// mirrorVariable names a Debian mirror, for machines whose package sources have none.
	mirrorVariable = "VMTB_DEBIAN_MIRROR"
)

// buildRoot builds a root tree of a Debian release from packages. target is a directory or a tar
// file.
func buildRoot(ctx context.Context, release, target string, packages []string, lock *os.File, log io.Writer) error {
	mirror, err := debianMirror(ctx)
	if err != nil {
		return err
	}
	argv := []string{
		"unshare", "--mount", "--propagation", "private", "mmdebstrap", "--variant=minbase", "--mode=root",
		"--aptopt=APT::Install-Recommends \"false\"", "--aptopt=APT::Default-Release \"" + release + "\"",
		"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
		"--include=" + strings.Join(packages, ","),
		release, target,
	}
	return run(ctx, lock, log, append(argv, packageSources(mirror, release, packages)...)...)
}

// packageSources returns the lines of apt's sources for a release. It adds a source for IGT if the
// release has none, and the release's backports if one of packages comes from there.
func packageSources(mirror, release string, packages []string) []string {
	if hasIGT(release) {
		return []string{inTheMaking(mirror, release)}
	}
	lines := []string{
		fmt.Sprintf("deb [signed-by=%s] %s %s main", keyring, mirror, release), inTheMaking(mirror, igtSuite),
	}
	backports := release + "-backports"
	if slices.ContainsFunc(packages, func(name string) bool { return strings.HasSuffix(name, "/"+backports) }) {
		lines = append(lines, inTheMaking(mirror, backports))
	}
	return lines
}

// inTheMaking returns the source of a release that still changes. It accepts a mirror's copy that
// is older than a week; apt still checks signatures.
func inTheMaking(mirror, release string) string {
	return fmt.Sprintf("deb [signed-by=%s check-valid-until=no] %s %s main", keyring, mirror, release)
}

// hasIGT reports whether a release itself has IGT's runner and all its tests.
func hasIGT(release string) bool { return release == igtSuite || release == "sid" }

// debianMirror returns the Debian mirror in the machine's own package sources.
func debianMirror(ctx context.Context) (string, error) {
	if m := os.Getenv(mirrorVariable); m != "" {
		return m, nil
	}
	cmd := exec.CommandContext(
		ctx, "apt-get", "indextargets", "--format", "$(ORIGIN) $(CODENAME) $(REPO_URI)", "Created-By: Packages",
	)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // vmtb handles the terminal's Ctrl-C
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		return "", &bench.InfraError{
			Op: "list the package sources with apt-get indextargets", Err: err,
			Advice: "set " + mirrorVariable + " to the address of a Debian mirror",
		}
	}
	if m := pickMirror(string(out)); m != "" {
		return m, nil
	}
	return "", &bench.InfraError{
		Op: "find a Debian mirror", Err: errors.New("the package sources of this machine have no Debian main archive"),
		Advice: "run apt-get update, or set " + mirrorVariable + " to the address of a Debian mirror",
	}
}

// pickMirror returns the address of Debian's main archive in lines of "origin codename address".
// The main archive's release is a bare code name; bookworm-security is in another archive.
func pickMirror(targets string) string {
	for line := range strings.Lines(targets) {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == "Debian" && !strings.Contains(f[1], "-") {
			return strings.TrimSuffix(f[2], "/")
		}
	}
	return ""
}

// inRoot runs a script of image/ inside root, with work on /mnt. It uses its own mount namespace,
// so nothing stays mounted, even after a crash.
func inRoot(ctx context.Context, root, work, script string, lock *os.File, log io.Writer) error {
	const enter = `mount --bind "$1" "$2/mnt" && mount -t proc proc "$2/proc" && cd / && unset TMPDIR && ` +
		`exec chroot "$2" /bin/sh -e "/mnt/in/image/$3"`
	return run(
		ctx, lock, log, "unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", enter, "sh", work, root,
		script,
	)
}

// run runs a build program. Its output goes to log, and the end of the output into the error. When
// ctx ends, the program gets time to unmount and to remove its files. It inherits the lock of the
// entry that it builds. So if vmtb is killed, the next build of the entry waits until the program
// has ended.
func run(ctx context.Context, lock *os.File, log io.Writer, argv ...string) error {
	var tail bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LC_ALL=C", "DEBIAN_FRONTEND=noninteractive",
		"INITRD=No") // Debian's kernel package: build no initramfs, because the lab has its own
	cmd.Stdout = io.MultiWriter(log, &tail)
	cmd.Stderr = cmd.Stdout
	cmd.ExtraFiles = []*os.File{lock}
	// A Ctrl-C at the terminal reaches the program only through ctx, and the program ends if vmtb
	// is killed. The parent-death signal is sent when the thread that forked ends. So this
	// goroutine keeps the thread until the program has ended.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &bench.InfraError{Op: "run " + filepath.Base(argv[0]), Err: err, Evidence: bench.Tail(tail.Bytes(), 15)}
}

var packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+(/` + igtSuite + `|/backports)?$`)

// CheckPackages returns a [bench.UsageError] if one of names is not a valid name of a Debian
// package.
func CheckPackages(names []string) error {
	for _, name := range names {
		if !packageName.MatchString(name) {
			return &bench.UsageError{
				Err:    fmt.Errorf("%q is not the name of a Debian package", name),
				Advice: "names are as apt-get install takes them, without version: python3-pytest",
			}
		}
	}
	return nil
}

// readPackages returns the packages in a list of image/.
func readPackages(list string) []string {
	var names []string
	for line := range strings.Lines(list) {
		line, _, _ = strings.Cut(line, "#")
		if name := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "build:")); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
