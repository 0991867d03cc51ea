package imagebuild

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"vmtb/bench"
)

// A Patch changes the lab's own xe and xe-vfio-pci. The zero Patch changes nothing.
type Patch struct {
	Flag string // the flag that the user gave, "--patch": for messages
	Path string // of the file

	data []byte
}

// ReadPatch reads the patch at path, as "git format-patch" or "git diff" write it for a kernel tree.
// flag is the name of the flag, for messages.
func ReadPatch(flag, path string) (Patch, error) {
	data, err := os.ReadFile(path)
	if err == nil && len(data) == 0 {
		err = fmt.Errorf("%s is empty", path)
	}
	if err != nil {
		return Patch{}, &bench.UsageError{Err: fmt.Errorf("%s: %w", flag, err)}
	}
	return Patch{flag, path, data}, nil
}

// patched returns the cache entry with xe and xe-vfio-pci built with a patch, as modules.tar.
func (b *builder) patched(root string, p Patch) string {
	name := filepath.Base(p.Path)
	from := []string{b.modules(root), b.textFile("patch", "patch "+name, string(p.data))}
	if b.err != nil {
		return ""
	}
	dir := b.stage("xepatched", root, "xe-patched.sh", "xe with "+name, from)
	if infra, ok := errors.AsType[*bench.InfraError](b.err); ok {
		infra.Op = fmt.Sprintf("build xe with %s=%s", p.Flag, p.Path)
	}
	return dir
}
