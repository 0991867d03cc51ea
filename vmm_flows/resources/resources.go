package resources

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"vmtb/bench"
)

//go:embed wsim
var files embed.FS

func wsim() fs.FS {
	dir, _ := fs.Sub(files, "wsim") // fails for an unclean name only
	return dir
}

// Wsim is the workload descriptor name, "short_preempt", for a model of GPU, "Bmg_g21_12" (the name of its vGPU profile
// file): model/name.wsim in the directory override if it is there, else our own. What neither has is a
// [bench.UsageError].
func Wsim(override, model, name string) ([]byte, error) {
	file := path.Join(model, name+".wsim")
	dirs := []fs.FS{os.DirFS(override), wsim()}
	if override == "" {
		dirs = dirs[1:]
	}
	for _, dir := range dirs {
		data, err := fs.ReadFile(dir, file)
		if err == nil {
			return data, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, &bench.UsageError{Err: fmt.Errorf("workload descriptor: %w", err)}
		}
	}
	return nil, &bench.UsageError{
		Err:    fmt.Errorf("workload descriptor %s: %w", file, fs.ErrNotExist),
		Advice: "resources.wsim_wl_path in the configuration names a directory that may have it",
	}
}
