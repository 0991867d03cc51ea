package vm

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vmtb/internal/cli/env"
)

// runCopy runs "vm cp".
func runCopy(t *testing.T, e *env.Env, args ...string) error {
	t.Helper()
	cmd := Command(e)
	cmd.SetArgs(append([]string{"cp"}, args...))
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	return cmd.ExecuteContext(t.Context())
}

// makeTree makes a directory with all kinds of files that are copied.
func makeTree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	long := strings.Repeat("long", 40)
	for _, d := range []string{"", "empty", "private", "private/ö " + long} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]fs.FileMode{
		"plain": 0o640, "run": 0o755, "private/secret": 0o400, "private/ö " + long + "/" + long: 0o644,
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, bytes.Repeat([]byte(name+"\x00\n"), 5000), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, link := range map[string]string{"out": "/etc/passwd", "private/up": "../run", "nowhere": "nonesuch"} {
		if err := os.Symlink(link, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]fs.FileMode{"": 0o750, "empty": 0o711} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// listTree lists a directory, with modes and contents.
func listTree(t *testing.T, dir string) string {
	t.Helper()
	var list strings.Builder
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var content []byte
		switch {
		case info.Mode().IsRegular():
			content, err = os.ReadFile(name)
		case info.Mode()&fs.ModeSymlink != 0:
			var link string
			link, err = os.Readlink(name)
			content = []byte(link)
		}
		fmt.Fprintf(&list, "%s %v %q\n", strings.TrimPrefix(name, dir), info.Mode(), content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list.String()
}

// A directory arrives unchanged, between any two places, under a new name or in a directory, and
// also the second time.
func TestCopyTree(t *testing.T) {
	for name, prefix := range map[string][2]string{
		"in": {"", "vm0:"}, "out": {"vm0:", ""}, "between": {"vm0:", "vm1:"}, "within": {"vm0:", "vm0:"},
	} {
		t.Run(name, func(t *testing.T) {
			e, _ := newEnv(t)
			playKeeper(t, e, "vm0", true)
			playKeeper(t, e, "vm1", true)
			tree, to := makeTree(t), t.TempDir()
			for destination, at := range map[string]string{"new": "new", "": "tree"} {
				for range 2 {
					if at == "new" { // the second time it would be a directory
						if err := os.RemoveAll(filepath.Join(to, at)); err != nil {
							t.Fatal(err)
						}
					}
					if err := runCopy(
						t, e, "-r", prefix[0]+tree, prefix[1]+filepath.Join(to, destination),
					); err != nil {
						t.Fatal(err)
					}
					if got, want := listTree(t, filepath.Join(to, at)), listTree(t, tree); got != want {
						t.Errorf("%q: got %s\nwant %s", destination, got, want)
					}
				}
			}
		})
	}
}

// Special files are left out and named. All others are copied.
func TestCopyTreeSpecial(t *testing.T) {
	for name, prefix := range map[string][2]string{
		"in": {"", "vm0:"}, "out": {"vm0:", ""}, "between": {"vm0:", "vm1:"},
	} {
		t.Run(name, func(t *testing.T) {
			e, _ := newEnv(t)
			playKeeper(t, e, "vm0", true)
			playKeeper(t, e, "vm1", true)
			tree, to := makeTree(t), filepath.Join(t.TempDir(), "to")
			want := listTree(t, tree)
			if err := unix.Mkfifo(filepath.Join(tree, "fifo"), 0o600); err != nil {
				t.Fatal(err)
			}
			err := runCopy(t, e, "-r", prefix[0]+tree, prefix[1]+to)
			if err == nil || !strings.Contains(err.Error(), "links are copied: fifo") {
				t.Errorf("%v, want the FIFO named", err)
			}
			if got := listTree(t, to); got != want {
				t.Errorf("got %s\nwant %s", got, want)
			}
		})
	}
}

// A guest may send a hostile archive. No file outside of the destination is written, here or in
// another guest.
func TestCopyTreeHostile(t *testing.T) {
	outside := t.TempDir()
	file := func(name string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeReg, Size: 4, Mode: 0o644}
	}
	link := func(name, to string) tar.Header {
		return tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeSymlink, Mode: 0o777}
	}
	for name, entries := range map[string][]tar.Header{
		"up":               {file("../evil")},
		"up later":         {file("a/../../evil")},
		"absolute":         {file(outside + "/evil")},
		"through a link":   {link("a", outside), file("a/evil")},
		"over a link":      {link("a", outside+"/evil"), file("a")},
		"deep link":        {{Name: "d", Typeflag: tar.TypeDir, Mode: 0o755}, link("d/a", "../.."), file("d/a/evil")},
		"hard link out":    {{Name: "a", Linkname: "../evil", Typeflag: tar.TypeLink}},
		"link of a link":   {link("a", outside), {Name: "b", Linkname: "a", Typeflag: tar.TypeLink}, file("b/evil")},
		"directory a link": {link("a", outside), {Name: "a", Typeflag: tar.TypeDir, Mode: 0o777}, file("a/evil")},
	} {
		for _, prefix := range []string{"", "vm1:"} {
			t.Run(name+" "+prefix, func(t *testing.T) {
				var archive bytes.Buffer
				w := tar.NewWriter(&archive)
				for _, h := range entries {
					if err := w.WriteHeader(&h); err != nil {
						t.Fatal(err)
					}
					if _, err := w.Write([]byte("evil")[:h.Size]); err != nil {
						t.Fatal(err)
					}
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				e, _ := newEnv(t)
				playKeeper(t, e, "vm0", true).tar = archive.Bytes()
				playKeeper(t, e, "vm1", true)
				around := t.TempDir()
				err := runCopy(t, e, "-r", "vm0:"+t.TempDir(), prefix+filepath.Join(around, "to"))
				if err == nil || !strings.Contains(err.Error(), "the guest's archive has a file") {
					t.Errorf("%v, want a refusal", err)
				}
				escaped, _ := filepath.Glob(around + "/evil")
				inside, _ := filepath.Glob(outside + "/*")
				if len(escaped)+len(inside) > 0 {
					t.Errorf("written: %v %v", escaped, inside)
				}
				if left, _ := filepath.Glob(around + "/to/.vmtb-cp*"); left != nil {
					t.Errorf("left: %v", left)
				}
			})
		}
	}
}

// Old symbolic links in the destination do not lead the copy elsewhere.
func TestCopyTreeOldLinks(t *testing.T) {
	e, _ := newEnv(t)
	playKeeper(t, e, "vm0", true)
	tree, to, outside := makeTree(t), t.TempDir(), t.TempDir()
	before := listTree(t, outside)
	if err := os.Mkdir(filepath.Join(to, "tree"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(to, "tree", "private")); err != nil {
		t.Fatal(err)
	}
	err := runCopy(t, e, "-r", "vm0:"+tree, to)
	if err == nil || !strings.Contains(err.Error(), "the source cannot replace it") {
		t.Errorf("%v, want a refusal", err)
	}
	if got := listTree(t, outside); got != before {
		t.Errorf("outside has %s", got)
	}
}

// An executable file stays executable at any destination, and no other file becomes executable.
func TestCopyMode(t *testing.T) {
	e, _ := newEnv(t)
	playKeeper(t, e, "vm0", true)
	playKeeper(t, e, "vm1", true)
	tree := makeTree(t)
	for _, prefix := range [][2]string{{"", "vm0:"}, {"vm0:", ""}, {"vm0:", "vm1:"}} {
		for file, executable := range map[string]bool{"run": true, "plain": false} {
			to := filepath.Join(t.TempDir(), "to")
			if err := runCopy(t, e, prefix[0]+filepath.Join(tree, file), prefix[1]+to); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(to)
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Mode()&0o100 != 0; got != executable || info.Size() == 0 {
				t.Errorf("%v %s: mode %v, %d bytes", prefix, file, info.Mode(), info.Size())
			}
		}
	}
}

// A copy that is impossible is refused with the reason, and the destination stays unchanged.
func TestCopyRefused(t *testing.T) {
	e, _ := newEnv(t)
	playKeeper(t, e, "vm0", true)
	playKeeper(t, e, "vm1", true)
	tree := makeTree(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	run, plain := filepath.Join(tree, "run"), filepath.Join(tree, "plain")
	before := listTree(t, tree)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{tree, "vm0:" + t.TempDir()}, "is a directory (vmtb vm cp -r copies it)"},
		{[]string{"vm0:" + tree, t.TempDir()}, "is a directory (vmtb vm cp -r copies it)"},
		{[]string{"-r", "vm0:" + tree, "-"}, "is a directory, and cannot be written to standard output"},
		{[]string{"-", "vm0:" + tree}, "give the name of a file for standard input"},
		{[]string{"-r", "vm0:" + tree, run}, "is a directory, and"},
		{[]string{"vm0:" + fifo, t.TempDir()}, "is a device, a FIFO or a socket"},
		{[]string{"vm0:" + run, "vm0:" + tree + "/./run"}, "are the same file"},
		{[]string{"-r", "vm0:" + tree, "vm0:" + tree + "/private"}, "/private/tree is in"},
		{[]string{tree + "/nonesuch", "vm0:" + plain}, "no such file"},
		{[]string{"vm0:" + tree + "/nonesuch", "vm1:" + plain}, "no such file"},
		{[]string{"vm0:" + tree + "/nonesuch", plain}, "no such file"},
	} {
		if err := runCopy(t, e, c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.args, err, c.want)
		}
	}
	if got := listTree(t, tree); got != before {
		t.Errorf("changed: %s", got)
	}
}
