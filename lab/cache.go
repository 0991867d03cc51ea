package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"vmtb/bench"
	"vmtb/internal/flock"
	"vmtb/internal/progress"
)

// A build removes entries that have lain unused for long, and all but a few of each kind: the DUT's alone takes half a
// gigabyte.
const (
	unusedFor   = 14 * 24 * time.Hour
	keepEntries = 4
)

// A cache holds what is expensive to make, in directories called after their kind and the hash of their inputs.
// An entry is complete when it has its name: it is built beside it and renamed.
type cache struct {
	dir  string
	lock *os.File
}

// CacheDir is where the lab keeps its images: $XDG_CACHE_HOME/vmtb/lab or ~/.cache/vmtb/lab.
func CacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", &bench.InfraError{Op: "find the cache directory", Err: err, Advice: "set XDG_CACHE_HOME"}
	}
	return filepath.Join(dir, "vmtb", "lab"), nil
}

// openCache locks the cache; a second process waits, and says so.
func openCache(ctx context.Context, dir string, p *progress.Progress) (*cache, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, &bench.InfraError{Op: "make the cache", Err: err}
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, &bench.InfraError{Op: "lock the cache", Err: err}
	}
	c := &cache{dir: dir, lock: f}
	err = flock.Exclusive(f)
	if errors.Is(err, flock.ErrInUse) {
		err = p.Step("waiting for another vmtb that builds the lab", func(io.Writer) error { return flock.Wait(ctx, f) })
	}
	if err != nil {
		err = &bench.InfraError{Op: "lock the cache", Err: err}
	} else {
		err = c.sweep()
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *cache) close() { _ = c.lock.Close() }

// entry returns the directory for what kind and key name, building it first if it is not there. While it builds,
// nothing has the entry's name.
func (c *cache) entry(kind, key string, build func(tmp string) error) (string, error) {
	dir := filepath.Join(c.dir, kind+"-"+key)
	if _, err := os.Stat(dir); err == nil {
		now := time.Now()
		return dir, os.Chtimes(dir, now, now)
	}
	tmp, err := os.MkdirTemp(c.dir, "tmp-"+kind+"-")
	if err != nil {
		return "", err
	}
	if err := build(tmp); err != nil {
		return "", errors.Join(err, removeTree(tmp))
	}
	return dir, os.Rename(tmp, dir)
}

// sweep removes what a killed build left, and the entries that have not been used for the longest time. The lock makes
// it safe; a DUT that runs from an entry has its files open.
func (c *cache) sweep() error {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return &bench.InfraError{Op: "read the cache", Err: err}
	}
	var infos []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && e.IsDir() {
			infos = append(infos, info)
		}
	}
	slices.SortFunc(infos, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	seen := map[string]int{}
	for _, info := range infos {
		kind, _, _ := strings.Cut(info.Name(), "-")
		seen[kind]++
		if kind != "tmp" && seen[kind] <= keepEntries && time.Since(info.ModTime()) < unusedFor {
			continue
		}
		if err := removeTree(filepath.Join(c.dir, info.Name())); err != nil {
			return &bench.InfraError{Op: "remove an old build", Err: err}
		}
	}
	return nil
}

// removeTree removes a directory. A build has its mounts in a namespace of its own; should any be here all the same,
// they go first: what is mounted is not ours to remove.
func removeTree(dir string) error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	lines := strings.Split(string(mounts), "\n")
	slices.Reverse(lines) // the newest first: mounts nest
	for _, line := range lines {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
			if err := unix.Unmount(f[1], unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
				return fmt.Errorf("unmount %s: %w", f[1], err)
			}
		}
	}
	return os.RemoveAll(dir)
}

// hash is the key of parts, each of which is a string or an [fs.FS] whose files' names and bytes all count, but for Go's
// tests, which go into nothing.
func hash(parts ...any) (string, error) {
	h := sha256.New()
	for _, part := range parts {
		switch part := part.(type) {
		case string:
			fmt.Fprintf(h, "string %d\n%s\n", len(part), part)
		case fs.FS:
			err := fs.WalkDir(part, ".", func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
					return err
				}
				data, err := fs.ReadFile(part, path)
				fmt.Fprintf(h, "file %s %d\n%s\n", path, len(data), data)
				return err
			})
			if err != nil {
				return "", err
			}
		default:
			return "", fmt.Errorf("BUG: cannot hash a %T", part)
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// Clean removes all that the lab has cached and returns how many bytes that freed.
func Clean(ctx context.Context, dir string, p *progress.Progress) (freed int64, err error) {
	c, err := openCache(ctx, dir, p)
	if err != nil {
		return 0, err
	}
	defer c.close()
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			freed += st.Blocks * 512
		}
		return nil
	})
	if err != nil {
		return 0, &bench.InfraError{Op: "measure the cache", Err: err}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, &bench.InfraError{Op: "read the cache", Err: err}
	}
	for _, e := range entries {
		if e.IsDir() {
			err = errors.Join(err, removeTree(filepath.Join(dir, e.Name())))
		}
	}
	return freed, err
}
