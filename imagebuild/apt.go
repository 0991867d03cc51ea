package imagebuild

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"vmtb/bench"
)

// An apt is a state of apt beside the machine's own, whose package lists do not change.
type apt struct {
	lists string // directory of the package lists; [apt.run] with "update" fills it
	dir   string // directory for all else
}

// sourcesFile returns the list of sources. It is beside the lists: apt removes unknown files in their
// directory.
func (a apt) sourcesFile() string { return a.lists + "-sources.list" }

// sources makes the directories, and the list of sources: kinds ("deb", "deb-src") of packages of
// releases.
func (a apt) sources(mirror string, kinds, releases []string) error {
	if err := os.MkdirAll(filepath.Join(a.lists, "partial"), 0o755); err != nil {
		return err
	}
	var lines strings.Builder
	for _, release := range releases {
		for _, kind := range kinds {
			fmt.Fprintf(&lines, "%s [signed-by=%s check-valid-until=no] %s %s main\n", kind, keyring, mirror, release)
		}
	}
	return os.WriteFile(a.sourcesFile(), []byte(lines.String()), 0o644)
}

// argv returns a command of one of apt's programs.
func (a apt) argv(program string, args ...string) []string {
	return append([]string{
		program, "-q", "-o", "Dir::State=" + a.dir, "-o", "Dir::State::status=" + filepath.Join(a.dir, "status"),
		"-o", "Dir::State::lists=" + a.lists, "-o", "Dir::Cache=" + filepath.Join(a.dir, "cache"),
		"-o", "Dir::Etc::sourcelist=" + a.sourcesFile(), "-o", "Dir::Etc::sourceparts=-",
		"-o", "APT::Sandbox::User=root", // apt's usual download user has no access to the cache
		"-o", "APT::Architecture=amd64", "-o", "APT::Architectures=amd64",
		// Only lists of packages: no descriptions of programs, no translations.
		"-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false", "-o", "Acquire::Languages=none",
		"-o", "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false",
	}, args...)
}

// run runs apt-get in a working directory, into which it downloads. lock is as in [run].
func (a apt) run(ctx context.Context, lock *os.File, dir string, log io.Writer, args ...string) error {
	if err := a.prepare(); err != nil {
		return err
	}
	shell := []string{"/bin/sh", "-c", `cd "$1" && shift && exec "$@"`, "sh", dir}
	return run(ctx, lock, log, append(shell, a.argv("apt-get", args...)...)...)
}

// query returns the output of apt-cache.
func (a apt) query(ctx context.Context, args ...string) (string, error) {
	if err := a.prepare(); err != nil {
		return "", err
	}
	argv := a.argv("apt-cache", args...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // vmtb handles the terminal's Ctrl-C
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		return "", &bench.InfraError{Op: "run apt-cache", Err: err, Evidence: bench.Tail(stderr.Bytes(), 5)}
	}
	return string(out), nil
}

// prepare makes the directories of apt's state.
func (a apt) prepare() error {
	if err := os.MkdirAll(filepath.Join(a.dir, "cache", "archives", "partial"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(a.dir, "status"), nil, 0o644)
}
