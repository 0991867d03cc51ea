package imagebuild

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"vmtb/bench"
)

// A Module is a kernel module of the user, for one side of the lab.
type Module struct {
	Flag    string // the flag that the user gave, "--module": for messages
	Path    string // of the file
	Name    string // as modprobe knows it, "xe"
	Release string // of the kernel that it is built for

	data []byte
}

// ReadModule reads the kernel module at path. flag is the name of the flag, for messages.
func ReadModule(flag, path string) (Module, error) {
	m := Module{Flag: flag, Path: path}
	data, err := os.ReadFile(path)
	if err != nil {
		return m, &bench.UsageError{Err: fmt.Errorf("%s: %w", flag, err)}
	}
	info, err := parseModinfo(data)
	if err != nil {
		return m, &bench.UsageError{
			Err: fmt.Errorf("%s=%s: %w", flag, path, err), Advice: "give a built module: NAME.ko, not compressed",
		}
	}
	m.data, m.Name = data, info["name"]
	m.Release, _, _ = strings.Cut(info["vermagic"], " ")
	return m, nil
}

// drivesGPU reports whether m replaces a driver of the GPU.
func (m Module) drivesGPU() bool { return m.Name == "xe" || m.Name == "xe_vfio_pci" }

// file returns the name of m's file in an image. A file replaces the kernel's module of that name.
func (m Module) file() string { return m.Name + ".ko" }

// parseModinfo returns the fields of the section .modinfo of a module: "name", "vermagic", ... Of a
// field that comes more than once, it returns the first value.
func parseModinfo(data []byte) (map[string]string, error) {
	file, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("it is not an ELF file: %w", err)
	}
	section := file.Section(".modinfo")
	if section == nil || section.Type == elf.SHT_NOBITS {
		return nil, errors.New("it is not a kernel module: it has no section .modinfo")
	}
	text, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("its section .modinfo cannot be read: %w", err)
	}
	fields := map[string]string{}
	for field := range bytes.SplitSeq(text, []byte{0}) {
		name, value, ok := strings.Cut(string(field), "=")
		if _, again := fields[name]; ok && !again {
			fields[name] = value
		}
	}
	for _, name := range []string{"name", "vermagic"} {
		if fields[name] == "" {
			return nil, fmt.Errorf("it is not a kernel module: its section .modinfo has no field %q", name)
		}
	}
	if strings.ContainsAny(fields["name"], "/ \n") {
		return nil, fmt.Errorf("its name is %q", fields["name"])
	}
	return fields, nil
}

// checkModules sets the builder's error unless all modules are built for the kernel in the cache
// entry kernel, or for that of the root tree if kernel is "".
func (b *builder) checkModules(root, kernel string, modules []Module) {
	if b.err != nil {
		return
	}
	release, err := rootKernel(root)
	if kernel != "" {
		var data []byte
		data, err = os.ReadFile(filepath.Join(kernel, "kernel-release"))
		release = strings.TrimSpace(string(data))
	}
	if err != nil {
		b.err = &bench.InfraError{Op: "find the release of the kernel", Err: err, Advice: "vmtb lab clean"}
		return
	}
	b.err = builtFor(release, modules)
}

// builtFor returns a [bench.UsageError] if one of modules is not built for that release of the
// kernel.
func builtFor(release string, modules []Module) error {
	for _, m := range modules {
		if m.Release != release {
			return &bench.UsageError{
				Err: fmt.Errorf(
					"%s=%s: the module is built for Linux %s, and this side of the lab has Linux %s", m.Flag, m.Path,
					m.Release, release,
				),
				Advice: "build it for that kernel, or give its own kernel, too",
			}
		}
	}
	return nil
}

// extraModules returns the cache entry with modules of the user, as one file, modules.tar.
func (b *builder) extraModules(modules []Module) string {
	parts := make([]any, 0, 2*len(modules))
	names := make([]string, 0, len(modules))
	for _, m := range modules {
		parts = append(parts, m.file()+" "+m.Release, string(m.data))
		names = append(names, m.Name)
	}
	return b.entry("usermodules", "modules "+strings.Join(names, ", "), func(dir *os.File, _ io.Writer) error {
		out, err := os.Create(filepath.Join(dir.Name(), "modules.tar"))
		if err != nil {
			return err
		}
		w := tar.NewWriter(out)
		for _, m := range modules {
			h := &tar.Header{Typeflag: tar.TypeReg, Name: m.file(), Mode: 0o644, Size: int64(len(m.data))}
			if err := w.WriteHeader(h); err != nil {
				return errors.Join(err, out.Close())
			}
			if _, err := w.Write(m.data); err != nil {
				return errors.Join(err, out.Close())
			}
		}
		return errors.Join(w.Close(), out.Close())
	}, parts...)
}
