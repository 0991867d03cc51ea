package resources

import (
	"embed"
	"io/fs"
)

//go:embed vgpu_profiles
var files embed.FS

// VGPUProfiles is the directory of vGPU profile files.
func VGPUProfiles() fs.FS {
	dir, _ := fs.Sub(files, "vgpu_profiles") // fails for an unclean name only
	return dir
}
