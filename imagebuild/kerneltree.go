package imagebuild

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"vmtb/bench"
	"vmtb/internal/filecopy"
)

// treeSource returns the source of a built tree's kernel. "make modules_install" puts its modules into a
// directory of ours; nothing in the tree changes.
func (b *builder) treeSource(k Kernel) (s kernelSource, err error) {
	release, id, err := k.treeState()
	if err != nil {
		return s, err
	}
	if _, err := exec.LookPath("make"); err != nil {
		return s, &bench.InfraError{Op: "install the modules of " + k.tree, Err: err, Advice: "apt install make"}
	}
	s.title, s.parts = "kernel "+release+" of "+k.tree, []any{"tree", id}
	s.get = func(in string, lock *os.File, log io.Writer) error {
		if err := filecopy.Copy(filepath.Join(in, "vmlinuz"), filepath.Join(k.tree, treeImage), 0o644); err != nil {
			return err
		}
		installed := filepath.Join(filepath.Dir(in), "tmp", "installed")
		err := run(
			b.ctx, lock, log, "make", "-s", "-C", k.tree, fmt.Sprintf("-j%d", runtime.NumCPU()), "modules_install",
			"INSTALL_MOD_PATH="+installed, "INSTALL_MOD_STRIP=1", "DEPMOD=true",
			"CONFIG_MODULE_COMPRESS_ALL=", // compression takes longer than all the rest
		)
		if err != nil {
			return err
		}
		return os.Rename(filepath.Join(installed, "lib", "modules"), filepath.Join(in, "modules"))
	}
	return s, nil
}

// treeState returns the release of the kernel in a built tree, and a text that changes when the
// tree is built again: sizes and times of its image and modules.
func (k Kernel) treeState() (release, id string, err error) {
	data, err := os.ReadFile(filepath.Join(k.tree, treeRelease))
	release = strings.TrimSpace(string(data))
	if err == nil && release == "" {
		err = fmt.Errorf("%s is empty", treeRelease)
	}
	if err != nil {
		return "", "", k.usage(fmt.Errorf("%w: %w", ErrNotBuilt, err), "build it again")
	}
	order, err := os.ReadFile(filepath.Join(k.tree, treeOrder))
	if err != nil {
		return "", "", k.usage(fmt.Errorf("%w: %w", ErrNotBuilt, err), "build it with 'make modules'")
	}
	files := append([]string{treeImage, treeRelease}, modulesIn(string(order))...)
	var b strings.Builder
	for _, file := range files {
		text, err := fileID(filepath.Join(k.tree, file))
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w: there is no %s", ErrNotBuilt, file)
		}
		if err != nil {
			return "", "", k.usage(err, "build it with 'make modules'")
		}
		b.WriteString(text)
	}
	return release, b.String(), nil
}

// modulesIn returns the paths of the modules in a kernel tree's modules.order. It has the paths of
// their objects ("a/b.o"), and before Linux 6.3 their own ("a/b.ko").
func modulesIn(order string) []string {
	var files []string
	for line := range strings.Lines(order) {
		name := strings.TrimSpace(line)
		if base, ok := strings.CutSuffix(name, ".o"); ok {
			name = base + ".ko"
		}
		if name != "" && filepath.IsLocal(name) {
			files = append(files, name)
		}
	}
	return files
}
