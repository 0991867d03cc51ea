package cache

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
	"strings"
	"time"

	"vmtb/bench"
	"vmtb/internal/flock"
	"vmtb/internal/progress"
)

// A Cache holds entries. An entry is a directory named after its kind and the hash of its inputs.
// Processes lock the directories themselves:
//
//   - A builder builds an entry in the directory "building-" + its name, which it has locked
//     exclusively. It renames the directory when the entry is complete. A second builder of the
//     same entry waits for that lock. Builders of other entries do not wait.
//   - A user of an entry holds a shared lock on it. Clean-up removes only directories that it can
//     lock exclusively.
//   - A directory may be renamed or removed while a process waits for its lock. So after locking, a
//     process checks that the name still belongs to the locked directory, and begins again if not.
type Cache struct {
	dir      string
	progress *progress.Progress
	// Locks on the used entries, held until Close, or until the Cache is unreachable.
	uses []*os.File
}

// Open opens the cache in dir, and removes old entries from it. It creates dir if necessary.
func Open(dir string, p *progress.Progress) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, &bench.InfraError{Op: "make the cache", Err: err}
	}
	c := &Cache{dir: dir, progress: p}
	return c, c.sweep()
}

// Close releases all entries.
func (c *Cache) Close() {
	for _, f := range c.uses {
		_ = f.Close()
	}
	c.uses = nil
}

// building is the kind of directories in which entries are built.
const building = "building"

// Entry returns the directory of the entry with this kind and key. It builds the entry first if it
// does not exist. The entry is in use until the cache is closed. build gets the open directory for
// the entry's files. A program that build starts inherits it, so the lock lasts even if vmtb is
// killed.
func (c *Cache) Entry(ctx context.Context, kind, key, title string, build func(dir *os.File) error) (string, error) {
	name := kind + "-" + key
	dir := filepath.Join(c.dir, name)
	for {
		used, err := c.use(ctx, dir)
		if err != nil || used {
			return dir, err
		}
		if err := c.build(ctx, name, title, build); err != nil {
			return "", err
		}
	}
}

// use locks an entry against clean-up, and reports whether it exists.
func (c *Cache) use(ctx context.Context, dir string) (bool, error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	err = flock.WaitShared(ctx, f)
	if err == nil && hasName(f) {
		now := time.Now()
		c.uses = append(c.uses, f)
		return true, os.Chtimes(dir, now, now)
	}
	return false, errors.Join(err, f.Close())
}

// build builds an entry, or waits until another process has built it or failed. The caller must
// check whether the entry exists then.
func (c *Cache) build(ctx context.Context, name, title string, build func(dir *os.File) error) error {
	tmp, dir := filepath.Join(c.dir, building+"-"+name), filepath.Join(c.dir, name)
	if err := os.Mkdir(tmp, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.Open(tmp)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // its builder has just ended
	}
	if err != nil {
		return err
	}
	defer f.Close()
	err = flock.Exclusive(f)
	if errors.Is(err, flock.ErrInUse) {
		waiting := fmt.Sprintf("waiting for another vmtb, which builds %s (%s/build.log)", title, tmp)
		// A shared lock suffices: the builder keeps a lock on the finished entry, because it uses
		// the entry.
		return c.progress.Step(waiting, func(io.Writer) error { return flock.WaitShared(ctx, f) })
	}
	if err != nil || !hasName(f) {
		return err
	}
	if _, err := os.Stat(dir); err == nil { // it was finished after the caller's check
		return removeTree(tmp)
	}
	if err := emptyTree(tmp); err != nil { // files of a killed build
		return err
	}
	if err := build(f); err != nil {
		return errors.Join(err, removeTree(tmp))
	}
	return os.Rename(tmp, dir)
}

// Scratch makes a directory for temporary files. It is locked against clean-up. The caller calls
// remove to remove it.
func (c *Cache) Scratch(kind string) (dir *os.File, remove func(), err error) {
	for {
		name, err := os.MkdirTemp(c.dir, building+"-"+kind+"-")
		if err != nil {
			return nil, nil, err
		}
		f, err := os.Open(name)
		if err == nil {
			if err = flock.Exclusive(f); err == nil && hasName(f) {
				// Clean-up removes the rest.
				return f, func() { _ = errors.Join(removeTree(name), f.Close()) }, nil
			}
			_ = f.Close()
		}
		// Clean-up may have removed the directory before we locked it.
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, flock.ErrInUse) {
			return nil, nil, err
		}
	}
}

// hasName reports whether the open directory f still has the name under which it was opened.
func hasName(f *os.File) bool {
	named, err := os.Stat(f.Name())
	if err != nil {
		return false
	}
	open, err := f.Stat()
	return err == nil && os.SameFile(named, open)
}

// Hash returns the key for parts. Each part is a string or an [fs.FS]. Of an FS, the names and
// contents of all files count, except for Go's tests, which no build uses.
func Hash(parts ...any) (string, error) {
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
