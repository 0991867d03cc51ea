package profiles

import (
	"embed"
	"io/fs"
)

//go:embed *.json
var files embed.FS

// Files is the directory of vGPU profile files: <model>.json.
func Files() fs.FS { return files }
