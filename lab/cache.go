package lab

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"vmtb/bench"
	"vmtb/internal/cache"
	"vmtb/internal/progress"
)

// CacheDir is where the lab keeps its images: $XDG_CACHE_HOME/vmtb/lab or ~/.cache/vmtb/lab.
func CacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", &bench.InfraError{Op: "find the cache directory", Err: err, Advice: "set XDG_CACHE_HOME"}
	}
	return filepath.Join(dir, "vmtb", "lab"), nil
}

// Clean removes all that the lab has cached and returns how many bytes that freed. What is in use stays, with an error that
// names the user.
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
