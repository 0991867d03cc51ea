package imagebuild

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"vmtb/bench"
	"vmtb/internal/cache"
	"vmtb/internal/progress"
)

// CacheDir returns the directory of the image cache: $XDG_CACHE_HOME/vmtb/lab or ~/.cache/vmtb/lab.
func CacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", &bench.InfraError{Op: "find the cache directory", Err: err, Advice: "set XDG_CACHE_HOME"}
	}
	return filepath.Join(dir, "vmtb", "lab"), nil
}

// Clean removes all images of the cache in dir, and returns how many bytes that freed. Images in
// use stay, and the error names their user.
func Clean(ctx context.Context, dir string, p *progress.Progress) (freed int64, err error) {
	freed, err = cache.Clean(ctx, dir, p)
	if errors.Is(err, cache.ErrInUse) {
		err = &bench.InfraError{
			Op: "remove all images of the lab", Err: err,
			Advice: "end these labs and builds, then run 'vmtb lab clean' again",
		}
	}
	return freed, err
}
