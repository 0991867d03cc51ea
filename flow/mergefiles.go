package flow

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// madeAgain lists the files and folders of a run directory that a merge does not copy: the lock,
// and reports, which can be made again.
var madeAgain = []string{lockFile, "results.json", "logfile.log", "html"}

// copyPart copies the folders of a part's fixtures to their places in the merged plan. Everything
// else goes into the part's own folder. Links are neither followed nor copied: a run directory may
// come from a machine that nobody trusts.
func (m *merger) copyPart(ctx context.Context, p *part, out string) error {
	root, err := os.OpenRoot(p.run.Info.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		to, moved := p.renamed[e.Name()]
		switch {
		case moved && e.IsDir():
		case slices.Contains(madeAgain, e.Name()):
			continue
		case !e.IsDir() && !e.Type().IsRegular():
			m.skipped++
			continue
		default:
			to = p.folder + "/" + e.Name()
		}
		if err := m.copyTree(ctx, root.FS(), e.Name(), filepath.Join(out, to)); err != nil {
			return err
		}
	}
	return nil
}

func (m *merger) copyTree(ctx context.Context, from fs.FS, name, to string) error {
	return fs.WalkDir(from, name, func(path string, d fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		rel, err := filepath.Rel(name, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case !d.Type().IsRegular():
			m.skipped++
			return nil
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		return copyFile(from, path, target)
	})
}

func copyFile(from fs.FS, name, to string) error {
	in, err := from.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	info, err := in.Stat()
	if err != nil {
		return err
	}
	return os.Chtimes(to, info.ModTime(), info.ModTime())
}
