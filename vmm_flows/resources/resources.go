package resources

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"vmtb/bench"
)

//go:embed wsim
var files embed.FS

func wsim() fs.FS {
	dir, _ := fs.Sub(files, "wsim") // fails only if the name is not clean
	return dir
}

// upstreamNames maps a model to its folder of descriptors in the Python tool: its GpuModel in lower
// case.
var upstreamNames = map[string]string{"Ptl": "ptl", "Bmg_g21_12": "bmg", "Bmg_g21_16": "bmg"}

// sameAs maps a model to the model whose built-in descriptors it uses.
var sameAs = map[string]string{"Bmg_g21_16": "Bmg_g21_12"}

// Wsim returns the workload descriptor name, such as "short_preempt", for a GPU model, such as
// "Bmg_g21_12" (the name of its vGPU profile file). It takes the file <model>/<name>.wsim in the
// directory override, or the file of the Python tool ("bmg/short_preempt.wsim") there, or the
// built-in one. from is the path of the file, or says that it is built in. If there is no such
// descriptor, the error is a [bench.UsageError].
func Wsim(override, model, name string) (data []byte, from string, err error) {
	file := path.Join(cmp.Or(sameAs[model], model), name+".wsim")
	type place struct {
		fs   fs.FS
		file string
		from string
	}
	var places []place
	if override != "" {
		names := []string{model}
		if upstream := upstreamNames[model]; upstream != "" {
			names = append(names, upstream)
		}
		for _, dir := range names {
			places = append(places, place{
				os.DirFS(override), path.Join(dir, name+".wsim"), filepath.Join(override, dir, name+".wsim"),
			})
		}
	}
	for _, p := range append(places, place{wsim(), file, "vmtb's own " + file}) {
		data, err := fs.ReadFile(p.fs, p.file)
		if err == nil {
			return data, p.from, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, "", &bench.UsageError{Err: fmt.Errorf("workload descriptor: %w", err)}
		}
	}
	return nil, "", &bench.UsageError{
		Err:    fmt.Errorf("workload descriptor %s: %w", file, fs.ErrNotExist),
		Advice: "resources.wsim_wl_path in the configuration names a directory that may have it",
	}
}
