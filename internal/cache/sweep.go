package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/internal/flock"
	"vmtb/internal/progress"
)

// Clean-up removes entries that were unused for long, and all but a few of each kind, because an
// entry may take half a gigabyte. It keeps entries in use, and recently used ones: a user who asked
// "vmtb lab build" for the images' paths uses them without a lock.
const (
	unusedFor   = 14 * 24 * time.Hour
	keepEntries = 4
	recently    = time.Hour
)

// ErrInUse is the error for an entry that stays because a process uses it.
var ErrInUse = errors.New("in use")

// sweep removes the files of killed builds, and the entries that were unused for the longest time.
// If another process is cleaning up, sweep does nothing.
func (c *Cache) sweep() error {
	lock, err := c.lockCleaning(nil)
	if errors.Is(err, flock.ErrInUse) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	infos, err := c.directories()
	if err != nil {
		return err
	}
	seen := map[string]int{}
	for _, info := range infos {
		kind, _, _ := strings.Cut(info.Name(), "-")
		seen[kind]++
		unused := time.Since(info.ModTime())
		if !unfinished(kind) && (seen[kind] <= keepEntries || unused < recently) && unused < unusedFor {
			continue
		}
		if err := c.Remove(info.Name()); err != nil && !errors.Is(err, ErrInUse) {
			return err
		}
	}
	return nil
}

// unfinished reports whether directories of this kind are not entries: their builder is at work or
// was killed.
func unfinished(kind string) bool {
	// Versions without locks used "tmp".
	return slices.Contains([]string{building, removing, "tmp"}, kind)
}

const removing = "removing"

// lockCleaning takes the lock of the one process that cleans up. If wait is nil and another process
// has the lock, it returns [flock.ErrInUse] at once. Old versions, without locks on entries, hold
// this lock while they build.
func (c *Cache) lockCleaning(wait func(*os.File) error) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(c.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err == nil {
		if err = flock.Exclusive(f); errors.Is(err, flock.ErrInUse) && wait != nil {
			err = wait(f)
		}
		if err == nil {
			return f, nil
		}
		_ = f.Close()
	}
	return nil, &bench.InfraError{Op: "lock the cache", Err: err}
}

// directories returns all directories of the cache, the last used first.
func (c *Cache) directories() ([]fs.FileInfo, error) {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return nil, &bench.InfraError{Op: "read the cache", Err: err}
	}
	var infos []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && e.IsDir() {
			infos = append(infos, info)
		}
	}
	// not slices.SortFunc: it makes the binary larger
	sort.Slice(infos, func(i, j int) bool { return infos[i].ModTime().After(infos[j].ModTime()) })
	return infos, nil
}

// Remove removes a directory of the cache. If it is in use, the error matches [ErrInUse] and names
// the user.
func (c *Cache) Remove(name string) error {
	dir := filepath.Join(c.dir, name)
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &bench.InfraError{Op: "remove an old build", Err: err}
	}
	defer f.Close()
	err = flock.Exclusive(f)
	switch {
	case errors.Is(err, flock.ErrInUse):
		return fmt.Errorf("%s: %w by another vmtb", dir, ErrInUse)
	case err == nil && !hasName(f):
		return nil // it is finished, or removed
	case err == nil:
		var user string
		if user, err = userOf(dir); err == nil && user != "" {
			return fmt.Errorf("%s: %w by %s", dir, ErrInUse, user)
		}
	}
	var grave string
	if err == nil {
		grave, err = os.MkdirTemp(c.dir, removing+"-")
	}
	if err == nil { // renamed first, so that no process finds half an entry
		err = errors.Join(os.Rename(dir, filepath.Join(grave, name)), removeTree(grave))
	}
	if err != nil {
		return &bench.InfraError{Op: "remove an old build", Err: err}
	}
	return nil
}

// userOf returns a process that runs from a directory or has a file below it open: "qemu-system-x86
// (process 12)". It returns "" if there is none. A DUT that outlives its command has no lock on the
// entries that it runs from.
func userOf(dir string) (string, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return "", err
	}
	for _, proc := range processes { // a process that ends meanwhile uses nothing
		if uses(proc, dir+"/") {
			comm, _ := os.ReadFile(proc + "/comm")
			return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(comm)), filepath.Base(proc)), nil
		}
	}
	return "", nil
}

// uses reports whether the process uses a path that begins with prefix: as an open or mapped file,
// its root, or its working directory.
func uses(proc, prefix string) bool {
	links := []string{proc + "/root", proc + "/cwd", proc + "/exe"}
	if fds, err := os.ReadDir(proc + "/fd"); err == nil {
		for _, fd := range fds {
			links = append(links, proc+"/fd/"+fd.Name())
		}
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, prefix) {
			return true
		}
	}
	maps, err := os.ReadFile(proc + "/maps")
	return err == nil && strings.Contains(string(maps), " "+prefix)
}

// removeTree removes a directory. A build has its mounts in its own namespace. If there are mounts
// here all the same, removeTree unmounts them first, so that it does not remove their files.
func removeTree(dir string) error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	lines := strings.Split(string(mounts), "\n")
	slices.Reverse(lines) // newest first, because mounts nest
	for _, line := range lines {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
			if err := unix.Unmount(f[1], unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
				return fmt.Errorf("unmount %s: %w", f[1], err)
			}
		}
	}
	return os.RemoveAll(dir)
}

// emptyTree removes the content of a directory, but not the directory.
func emptyTree(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, removeTree(filepath.Join(dir, e.Name())))
	}
	return err
}

// Clean removes all entries of the cache in dir, and returns how many bytes that freed. Entries in
// use stay. The error then matches [ErrInUse] and names the user.
func Clean(ctx context.Context, dir string, p *progress.Progress) (freed int64, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, &bench.InfraError{Op: "make the cache", Err: err}
	}
	c := &Cache{dir: dir, progress: p}
	lock, err := c.lockCleaning(func(f *os.File) error {
		const waiting = "waiting for another vmtb, which cleans up"
		return p.Step(waiting, func(io.Writer) error { return flock.Wait(ctx, f) })
	})
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	infos, err := c.directories()
	if err != nil {
		return 0, err
	}
	for _, info := range infos {
		size := sizeOf(filepath.Join(dir, info.Name()))
		if removed := c.Remove(info.Name()); removed != nil {
			err = errors.Join(err, removed)
		} else {
			freed += size
		}
	}
	return freed, err
}

// sizeOf returns how many bytes of the disk a directory takes. Files that disappear meanwhile do
// not count.
func sizeOf(dir string) (size int64) {
	entries, _ := os.ReadDir(dir) // it returns the entries that it could read
	for _, e := range entries {
		if e.IsDir() {
			size += sizeOf(filepath.Join(dir, e.Name()))
		}
		if info, err := e.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				size += st.Blocks * 512
			}
		}
	}
	return size
}
