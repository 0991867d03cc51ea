package vm

import (
	"archive/tar"
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vmtb/bench"
	"vmtb/bench/keep"
	"vmtb/internal/ansi"
)

// copyTree copies a directory as a tar archive. Only a piece of the archive is in memory at a time.
// A guest may send any archive, so each entry is checked before it is used.
func copyTree(ctx context.Context, from, to endpoint) error {
	var t treeCheck
	err := pipe(func(w io.Writer) error {
		if from.guest == nil {
			return packTree(from.path, w, to.kind == kindNone, &t)
		}
		return from.sendTree(ctx, w)
	}, func(archive io.Reader) error {
		r := bufio.NewReader(archive)
		if _, err := r.Peek(1); err != nil && !errors.Is(err, io.EOF) {
			return err // the source cannot be read: create nothing at the destination
		}
		switch {
		case to.guest == nil:
			return unpackTree(r, to, &t)
		case from.guest == nil:
			return to.takeTree(ctx, r)
		default:
			give := func(w io.Writer) error { return t.relay(r, w, to.kind == kindNone) }
			return pipe(give, func(r io.Reader) error { return to.takeTree(ctx, r) })
		}
	})
	return errors.Join(err, t.leftOut())
}

// sendTree writes an archive of a guest's directory to w.
func (p endpoint) sendTree(ctx context.Context, w io.Writer) error {
	err := guestRun(ctx, p.guest, "pack "+p.path, w, "tar", "-C", p.path, "-cf", "-", ".")
	if errors.As(err, new(*bench.StartError)) {
		return noTar(p.guest)
	}
	return err
}

func noTar(c *keep.Client) error {
	const format = "%s: -r needs tar in the guest, and the guest has none: install tar or busybox there"
	return &bench.GuestError{Err: fmt.Errorf(format, c.Name())}
}

// These are shell scripts for a guest that receives the directory $1. prepareTree creates $1, and
// in it a directory for the archive, whose name it prints. It uses no FIFO, because that would
// block the agent until somebody reads it.
const (
	prepareTree = `command -v tar >/dev/null || { echo "no tar"; exit 0; }
[ -d "$1" ] || mkdir "$1" && mktemp -d "$1/.vmtb-cp.XXXXXX"`
	unpackLine = `tar -xpf "$2/tree.tar" -C "$1"`
)

// takeTree unpacks the archive r into the directory p of a guest.
func (p endpoint) takeTree(ctx context.Context, r io.Reader) error {
	var printed head
	if err := guestRun(ctx, p.guest, "make "+p.path, &printed, "sh", "-c", prepareTree, "sh", p.path); err != nil {
		return err
	}
	dir := strings.TrimSuffix(printed.String(), "\n")
	if dir == "no tar" {
		return noTar(p.guest)
	}
	err := p.guest.WriteFile(ctx, path.Join(dir, "tree.tar"), r)
	if err == nil {
		err = guestRun(ctx, p.guest, "unpack into "+p.path, nil, "sh", "-c", unpackLine, "sh", p.path, dir)
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, guestRun(clean, p.guest, "remove "+dir, nil, "rm", "-r", dir))
}

// A treeCheck checks the entries of an archive, and collects the names of the entries that are not
// copied.
type treeCheck struct {
	links   map[string]bool // symbolic links so far
	special []string        // not copied
}

// leftOut returns an error that names the entries that were not copied.
func (t *treeCheck) leftOut() error {
	if len(t.special) == 0 {
		return nil
	}
	const most = 10
	names := strings.Join(t.special[:min(most, len(t.special))], ", ")
	if more := len(t.special) - most; more > 0 {
		names += fmt.Sprintf(", and %d more", more)
	}
	err := fmt.Errorf("not copied, because only files, directories and links are copied: %s", names)
	return &bench.UsageError{Err: err, Advice: "everything else was copied"}
}

// skip records that a file is not copied.
func (t *treeCheck) skip(name string) { t.special = append(t.special, ansi.Printable(name)) }

// check replaces the names in an entry by clean names below the copied directory. It reports
// whether to copy the entry.
func (t *treeCheck) check(h *tar.Header) (copied bool, err error) {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return false, nil
	}
	if h.Name, err = t.local(h.Name); err != nil {
		return false, err
	}
	if t.links[h.Name] {
		return false, hostile(h.Name, "twice, first as a symbolic link")
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir:
	case tar.TypeSymlink:
		t.link(h.Name)
	case tar.TypeLink:
		if h.Linkname, err = t.local(h.Linkname); err != nil {
			return false, err
		}
		if t.links[h.Linkname] {
			t.link(h.Name)
		}
	default:
		t.skip(h.Name)
		return false, nil
	}
	return true, nil
}

func (t *treeCheck) link(name string) {
	if t.links == nil {
		t.links = map[string]bool{}
	}
	t.links[name] = true
}

// local returns the clean form of a name in the archive. It fails if the name leads out of the
// directory, or through a link.
func (t *treeCheck) local(name string) (string, error) {
	clean := path.Clean(name)
	if !filepath.IsLocal(clean) {
		return "", hostile(name, "outside of the directory")
	}
	for dir := path.Dir(clean); dir != "."; dir = path.Dir(dir) {
		if t.links[dir] {
			return "", hostile(name, "through the symbolic link "+dir)
		}
	}
	return clean, nil
}

func hostile(name, how string) error {
	const format = "the guest's archive has a file %s: %s; nothing after it was copied"
	return &bench.GuestError{Err: fmt.Errorf(format, ansi.Printable(name), ansi.Printable(how))}
}

// each calls do for every entry to copy, and then reads r to its end.
func (t *treeCheck) each(r io.Reader, do func(h *tar.Header, content io.Reader) error) error {
	in := tar.NewReader(r)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, r) // tar pads its last block
			return err
		}
		if err != nil {
			return &bench.GuestError{Err: fmt.Errorf("read the guest's archive: %w", err)}
		}
		copied, err := t.check(h)
		if err == nil && copied {
			err = do(h, in)
		}
		if err != nil {
			return err
		}
	}
}

// relay copies an archive while it checks it. whole says whether the mode of the directory itself
// is copied.
func (t *treeCheck) relay(r io.Reader, w io.Writer, whole bool) error {
	out := tar.NewWriter(w)
	err := t.each(r, func(h *tar.Header, content io.Reader) error {
		if h.Name == "." && !whole {
			return nil
		}
		if err := out.WriteHeader(header(h.Name, h.Linkname, h.Typeflag, h.FileInfo())); err != nil {
			return err
		}
		_, err := io.Copy(out, content)
		return err
	})
	if err != nil {
		return err
	}
	return out.Close()
}

// header returns the header of an entry in a form that busybox's tar can read. It does not support
// PAX's long names.
func header(name, link string, typeflag byte, info fs.FileInfo) *tar.Header {
	h := &tar.Header{
		Format: tar.FormatGNU, Name: name, Linkname: link, Typeflag: typeflag,
		Mode: int64(info.Mode().Perm()), ModTime: info.ModTime().Truncate(time.Second),
	}
	switch typeflag {
	case tar.TypeReg:
		h.Size = info.Size()
	case tar.TypeDir:
		h.Name += "/"
	}
	return h
}

// packTree writes an archive of a directory on this machine. whole says whether it has the mode of
// the directory itself.
func packTree(dir string, w io.Writer, whole bool, t *treeCheck) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return &bench.UsageError{Err: err}
	}
	defer root.Close()
	out := tar.NewWriter(w)
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." && !whole {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return packEntry(root, name, info, out, t)
	})
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		return &bench.InfraError{Op: "pack " + dir, Err: err}
	}
	return nil
}

func packEntry(root *os.Root, name string, info fs.FileInfo, out *tar.Writer, t *treeCheck) error {
	switch mode := info.Mode(); {
	case mode.IsDir():
		return out.WriteHeader(header(name, "", tar.TypeDir, info))
	case mode&fs.ModeSymlink != 0:
		link, err := root.Readlink(name)
		if err != nil {
			return err
		}
		return out.WriteHeader(header(name, link, tar.TypeSymlink, info))
	case !mode.IsRegular():
		t.skip(name)
		return nil
	}
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := out.WriteHeader(header(name, "", tar.TypeReg, info)); err != nil {
		return err
	}
	if n, err := io.CopyN(out, f, info.Size()); err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%s became shorter while it was read: %d of %d bytes", name, n, info.Size())
		}
		return err
	}
	return nil
}

// An unpacker creates the entries of an archive in a directory on this machine. os.Root prevents
// that they leave the directory, even through symbolic links.
type unpacker struct {
	root *os.Root
	// modes maps the created directories to their modes; the top directory is "". The modes are set
	// last, because a directory may be read-only.
	modes map[string]fs.FileMode
}

func unpackTree(r io.Reader, to endpoint, t *treeCheck) error {
	if to.kind == kindNone {
		if err := os.Mkdir(to.path, 0o755); err != nil {
			return &bench.UsageError{Err: err}
		}
	}
	root, err := os.OpenRoot(to.path)
	if err != nil {
		return &bench.UsageError{Err: err}
	}
	defer root.Close()
	u := unpacker{root, map[string]fs.FileMode{}}
	err = t.each(r, func(h *tar.Header, content io.Reader) error {
		if h.Name == "." {
			if to.kind == kindNone && h.Typeflag == tar.TypeDir {
				u.modes[""] = h.FileInfo().Mode().Perm()
			}
			return nil
		}
		return u.entry(h, content)
	})
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(u.modes))) {
		err = errors.Join(err, root.Chmod(cmp.Or(name, "."), u.modes[name]))
	}
	if err == nil || errors.As(err, new(*bench.GuestError)) {
		return err
	}
	return &bench.InfraError{Op: "copy to " + to.path, Err: err}
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	directory := h.Typeflag == tar.TypeDir
	switch old, err := u.root.Lstat(h.Name); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case directory && old.IsDir():
		return nil
	case directory || !old.Mode().IsRegular() && old.Mode()&fs.ModeSymlink == 0:
		return fmt.Errorf("%s exists, and the source cannot replace it", ansi.Printable(u.root.Name()+"/"+h.Name))
	default:
		if err := u.root.Remove(h.Name); err != nil {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		u.modes[h.Name] = h.FileInfo().Mode().Perm()
		return u.root.Mkdir(h.Name, 0o700)
	case tar.TypeSymlink:
		return u.root.Symlink(h.Linkname, h.Name)
	case tar.TypeLink:
		return u.root.Link(h.Linkname, h.Name)
	}
	f, err := u.root.OpenFile(h.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Chmod(h.FileInfo().Mode().Perm()), f.Close())
}
