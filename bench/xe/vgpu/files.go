package vgpu

import (
	"embed"
	"io/fs"
)

//go:embed profiles/*.json
var files embed.FS

// Files returns a directory with the vGPU profile files that are built into vmtb: <model>.json.
func Files() fs.FS {
	dir, err := fs.Sub(files, "profiles")
	if err != nil {
		return files // unreachable: "profiles" is a valid path
	}
	return dir
}
