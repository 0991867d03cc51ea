package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// regularFiles is a file system that lists no links, sockets and other special files.
type regularFiles struct{ fs.FS }

// ReadDir implements [fs.ReadDirFS].
func (f regularFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(f.FS, name)
	special := func(e fs.DirEntry) bool { return !e.IsDir() && !e.Type().IsRegular() }
	return slices.DeleteFunc(entries, special), err
}

// pack writes the regular files below dir as a tar.
func pack(dir string, w io.Writer) error {
	gz := gzip.NewWriter(w)
	tw := tar.NewWriter(gz)
	return errors.Join(tw.AddFS(regularFiles{os.DirFS(dir)}), tw.Close(), gz.Close())
}

// Bounds of a run directory from a DUT.
const (
	maxUnpacked = 8 << 30
	maxFiles    = 100_000
)

// unpack makes dir from a tar of an untrusted machine. It writes only regular files below dir, and
// no more than most bytes.
func unpack(r io.Reader, dir string, most int64) error {
	gz, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	tr := tar.NewReader(gz)
	for n := 0; ; n++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeDir {
			continue // directories are made with their files
		}
		if h.Typeflag != tar.TypeReg || !filepath.IsLocal(h.Name) {
			return fmt.Errorf("%q is not a regular file in its directory", h.Name)
		}
		if most -= h.Size; most < 0 || n == maxFiles {
			return errors.New("the run directory is too large")
		}
		if err := root.MkdirAll(filepath.Dir(h.Name), 0o755); err != nil {
			return err
		}
		f, err := root.OpenFile(h.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		_, err = io.CopyN(f, tr, h.Size)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
}
