package imagebuild

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"vmtb/bench"
)

// roomToBuild is the free space in bytes that the cache needs for the lab's images and a guest
// image.
const roomToBuild = 6 << 30

// Missing returns what this machine lacks to build images with a cache in cacheDir: programs, the
// archive's keys, a Debian mirror, disk space. Each error has advice. Missing does not check for
// root. An image that is in the cache already needs none of this.
func Missing(ctx context.Context, cacheDir string) []error {
	var missing []error
	for _, tool := range []struct{ program, of string }{{"mmdebstrap", "mmdebstrap"}, {"unshare", "util-linux"}} {
		if _, err := exec.LookPath(tool.program); err != nil {
			missing = append(
				missing,
				&bench.InfraError{
					Op: "find the program " + tool.program, Err: exec.ErrNotFound, Advice: "apt install " + tool.of,
				},
			)
		}
	}
	if _, err := os.Stat(keyring); err != nil {
		missing = append(
			missing,
			&bench.InfraError{
				Op: "find the keys of Debian's archive", Err: err, Advice: "apt install debian-archive-keyring",
			},
		)
	}
	if _, err := debianMirror(ctx); err != nil {
		missing = append(missing, err)
	}
	if err := checkRoom(cacheDir, roomToBuild); err != nil {
		missing = append(missing, err)
	}
	return missing
}

// checkRoom returns an error unless the file system of dir has need free bytes. dir need not exist.
func checkRoom(dir string, need uint64) error {
	var st unix.Statfs_t
	err := unix.Statfs(dir, &st)
	for errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		err = unix.Statfs(dir, &st)
	}
	const op = "find space for images"
	if err != nil {
		return &bench.InfraError{
			Op: op, Err: fmt.Errorf("%s: %w", dir, err), Advice: "set XDG_CACHE_HOME to a directory with more space",
		}
	}
	if free := st.Bavail * uint64(st.Bsize); free < need {
		return &bench.InfraError{
			Op: op, Err: fmt.Errorf("%s has %d MiB free, but images take up to %d MiB", dir, free>>20, need>>20),
			Advice: "free some space, or set XDG_CACHE_HOME to a directory with more space",
		}
	}
	return nil
}
