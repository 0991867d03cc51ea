package host

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"vmtb/bench"
)

// A Kernel is what identifies the kernel of a machine. A value that is not known is "".
type Kernel struct {
	Release   string // "7.3.4+deb13-amd64", as in uname -r
	Version   string // "#1 SMP PREEMPT_DYNAMIC Debian 7.3.4-1", as in uname -v
	BuildID   string // of the kernel's image, hexadecimal; it differs between two builds of one source
	Microcode string // of the processors; several revisions are separated by commas
	Modules   []KernelModule
	Debug     DebugOptions
}

// A KernelModule identifies a loaded module. SrcVersion is a checksum of its source, and BuildID
// identifies the file. A module that is built into the kernel has neither.
type KernelModule struct {
	Name       string // with "_", as in sysfs
	SrcVersion string
	BuildID    string // hexadecimal
}

// DebugOptions are the options of a kernel's configuration that change its timing.
type DebugOptions struct {
	On      []string // without CONFIG_
	Unknown []string // options that nothing shows: the machine has no file with its configuration
}

// A Fact is a name and a value for a report.
type Fact struct{ Name, Value string }

// Facts returns what is known about the kernel.
func (k Kernel) Facts() []Fact {
	facts := []Fact{
		{"kernel", k.Release},
		{"kernel version", k.Version},
		{"kernel build id", k.BuildID},
		{"kernel debug options", k.Debug.String()},
		{"microcode", k.Microcode},
	}
	for _, m := range k.Modules {
		facts = append(facts, m.Facts()...)
	}
	return slices.DeleteFunc(facts, func(f Fact) bool { return f.Value == "" })
}

// Facts returns what is known about the module.
func (m KernelModule) Facts() []Fact {
	facts := []Fact{{m.Name + " srcversion", m.SrcVersion}, {m.Name + " build id", m.BuildID}}
	return slices.DeleteFunc(facts, func(f Fact) bool { return f.Value == "" })
}

// String lists the options that are on, and those that are unknown: "KASAN, PROVE_LOCKING; unknown:
// KCSAN". If none is on, it returns "none".
func (d DebugOptions) String() string {
	var parts []string
	if len(d.On) > 0 || len(d.Unknown) == 0 {
		parts = append(parts, strings.Join(d.On, ", "))
	}
	if len(d.Unknown) > 0 {
		parts = append(parts, "unknown: "+strings.Join(d.Unknown, ", "))
	}
	if parts[0] == "" {
		parts[0] = "none"
	}
	return strings.Join(parts, "; ")
}

// KernelOf reads what identifies a machine's kernel and its loaded modules, with one command. The
// machine needs a shell, cat and grep. An error means that the command failed.
func KernelOf(ctx context.Context, m bench.Machine, modules ...string) (Kernel, error) {
	c := bench.Command{Argv: append([]string{"/bin/sh", "-c", kernelScript, "sh"}, underscored(modules)...)}
	r, err := m.Exec(ctx, c)
	if err == nil {
		err = r.Err(c)
	}
	var files map[string][]byte
	if err == nil {
		files, err = parseKernelFiles(r.Stdout)
	}
	if err != nil {
		return Kernel{}, fmt.Errorf("%v: identify the kernel: %w", m, err)
	}
	return kernelFrom(func(path string) ([]byte, error) {
		data, ok := files[path]
		if !ok {
			return nil, fs.ErrNotExist
		}
		return data, nil
	}, modules), nil
}

// Kernel reads what identifies the host's kernel and its loaded modules. What cannot be read is not
// known.
func (h *Host) Kernel(modules ...string) Kernel { return kernelFrom(h.readOrFind, modules) }

// Module reads what identifies a loaded module of the host.
func (h *Host) Module(name string) KernelModule { return moduleFrom(h.readOrFind, name) }

// readOrFind returns the content of a file. For a file whose existence is all that counts it
// returns no content: some of these files are large.
func (h *Host) readOrFind(path string) ([]byte, error) {
	if slices.Contains(telltales, path) {
		_, err := h.System.Stat(path)
		return nil, err
	}
	return h.System.ReadFile(path)
}

func underscored(modules []string) []string {
	names := make([]string, len(modules))
	for i, m := range modules {
		names[i] = strings.ReplaceAll(m, "-", "_")
	}
	return names
}

// kernelScript prints the files that [kernelFrom] reads, each after a header. It starts few
// programs, because a guest may be slow: the shell itself reads files of one line.
var kernelScript = `mark() { printf '\n\001vmtb %s\n' "$1"; }
line() { [ -r "$1" ] && IFS= read -r l <"$1" && mark "$1" && printf '%s' "$l"; }
file() { [ -r "$1" ] && mark "$1" && cat "$1"; }
r= l=
line /proc/sys/kernel/osrelease && r=$l
line /proc/sys/kernel/version
line /proc/cmdline
line /sys/kernel/slab/kmalloc-64/poison
file /sys/kernel/notes
for m; do
	line "/sys/module/$m/srcversion"
	file "/sys/module/$m/notes/.note.gnu.build-id"
done
if [ -r /proc/cpuinfo ]; then
	while IFS= read -r l; do
		case $l in microcode*) mark /proc/cpuinfo; printf '%s\n' "$l"; break;; esac
	done </proc/cpuinfo
fi
for f in ` + strings.Join(telltales, " ") + `; do [ -e "$f" ] && mark "$f"; done
for f in /proc/config.gz "/boot/config-$r" "/lib/modules/$r/config"; do
	[ -r "$f" ] || continue
	mark "$f"
	case $f in *.gz) zcat "$f";; *) cat "$f";; esac | grep -E 'CONFIG_(64BIT|` + debugNames() + `)[= ]'
	break
done
mark end
true
`

var fileHeader = regexp.MustCompile(`\n\x01vmtb (/[^\n]*|end)\n`)

// parseKernelFiles returns the files in the output of kernelScript.
func parseKernelFiles(out []byte) (map[string][]byte, error) {
	files := map[string][]byte{}
	at := fileHeader.FindAllSubmatchIndex(out, -1)
	for i, h := range at {
		path := string(out[h[2]:h[3]])
		if path == "end" {
			return files, nil
		}
		if i+1 < len(at) {
			files[path] = out[h[1]:at[i+1][0]]
		}
	}
	return nil, errors.New("the output is cut off")
}

// kernelFrom reads a Kernel. read returns [fs.ErrNotExist] for a file that is not there.
func kernelFrom(read func(path string) ([]byte, error), modules []string) Kernel {
	k := Kernel{
		Release: oneLine(read, "/proc/sys/kernel/osrelease"),
		Version: oneLine(read, "/proc/sys/kernel/version"),
	}
	if notes, err := read("/sys/kernel/notes"); err == nil { // kernel/ksysfs.c
		k.BuildID = buildID(notes)
	}
	if info, err := read("/proc/cpuinfo"); err == nil {
		k.Microcode = microcode(string(info))
	}
	for _, name := range modules {
		if m := moduleFrom(read, name); m.SrcVersion != "" || m.BuildID != "" {
			k.Modules = append(k.Modules, m)
		}
	}
	k.Debug = debugOptionsFrom(read, k.Release)
	return k
}

func moduleFrom(read func(path string) ([]byte, error), name string) KernelModule {
	m := KernelModule{Name: strings.ReplaceAll(name, "-", "_")}
	dir := "/sys/module/" + m.Name
	m.SrcVersion = oneLine(read, dir+"/srcversion")
	if notes, err := read(dir + "/notes/.note.gnu.build-id"); err == nil { // kernel/module/sysfs.c
		m.BuildID = buildID(notes)
	}
	return m
}

// oneLine returns the first line of a file, of at most 2048 bytes (a guest may write anything), or
// "".
func oneLine(read func(path string) ([]byte, error), path string) string {
	const longest = 2048 // COMMAND_LINE_SIZE of x86
	data, err := read(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
	return strings.ToValidUTF8(line[:min(len(line), longest)], "\uFFFD")
}

// noteBuildID is NT_GNU_BUILD_ID of elf.h.
const noteBuildID = 3

// buildID returns the build id in ELF notes as hexadecimal digits, or "" if there is none. A note
// has the sizes of its name and its content and its type, 4 bytes each, then name and content, both
// padded to 4 bytes (elf(5)).
func buildID(notes []byte) string {
	const header, longest = 12, 64
	for len(notes) >= header {
		order := binary.NativeEndian
		nameSize, size := uint64(order.Uint32(notes)), uint64(order.Uint32(notes[4:]))
		kind := order.Uint32(notes[8:])
		at := header + (nameSize+3)&^3
		next := at + (size+3)&^3
		if at+size > uint64(len(notes)) {
			return ""
		}
		name := notes[header : header+nameSize]
		if kind == noteBuildID && string(name) == "GNU\x00" && size > 0 && size <= longest {
			return hex.EncodeToString(notes[at : at+size])
		}
		notes = notes[min(next, uint64(len(notes))):]
	}
	return ""
}

var microcodeLine = regexp.MustCompile(`(?m)^microcode\s*:[ \t]*(\S+)[ \t]*$`)

// microcode returns the revisions in /proc/cpuinfo, each once.
func microcode(cpuinfo string) string {
	var all []string
	for _, m := range microcodeLine.FindAllStringSubmatch(cpuinfo, -1) {
		if !slices.Contains(all, m[1]) {
			all = append(all, m[1])
		}
	}
	return strings.Join(all, ", ")
}

// timingOptions are the options that [DebugOptions] knows, without CONFIG_: those of
// drivers/gpu/drm/xe/Kconfig.debug and lib/Kconfig.debug (Linux 7.3) that make a kernel slower.
var timingOptions = []string{
	"DRM_XE_DEBUG", "DRM_XE_DEBUG_VM", "DRM_XE_DEBUG_SRIOV", "DRM_XE_DEBUG_MEM", "DRM_XE_DEBUG_MEMIRQ",
	"DRM_XE_DEBUG_GUC", "DRM_XE_USERPTR_INVAL_INJECT", "KASAN", "KCSAN", "KMSAN", "UBSAN", "KCOV",
	"PROVE_LOCKING", "LOCK_STAT", "DEBUG_ATOMIC_SLEEP", "DEBUG_OBJECTS", "DEBUG_VM", "DEBUG_KMEMLEAK",
	"SLUB_DEBUG_ON",
}

const (
	kmemleakOption = "DEBUG_KMEMLEAK"
	kmemleakOff    = "DEBUG_KMEMLEAK_DEFAULT_OFF"
	slubOption     = "SLUB_DEBUG_ON"
	debugfsFile    = "/sys/kernel/debug/devices_deferred" // drivers/base/dd.c: debugfs is mounted
	procFile       = "/proc/version"                      // /proc is mounted
)

// telltale files exist if the kernel has an option: kernel/locking/lockdep_proc.c, mm/kmemleak.c,
// kernel/kcsan/debugfs.c.
var telltale = map[string]struct{ file, mounted string }{
	"PROVE_LOCKING": {"/proc/lockdep_chains", procFile},
	"LOCK_STAT":     {"/proc/lock_stat", procFile},
	kmemleakOption:  {"/sys/kernel/debug/kmemleak", debugfsFile},
	"KCSAN":         {"/sys/kernel/debug/kcsan", debugfsFile},
}

// telltales are the files of telltale.
var telltales = []string{
	procFile, debugfsFile, "/proc/lockdep_chains", "/proc/lock_stat", "/sys/kernel/debug/kmemleak",
	"/sys/kernel/debug/kcsan",
}

func debugNames() string {
	return strings.Join(append(slices.Clone(timingOptions), kmemleakOff), "|")
}

// debugOptionsFrom reads the options from the kernel's configuration. Without one, some options show
// by files of the kernel.
func debugOptionsFrom(read func(path string) ([]byte, error), release string) (d DebugOptions) {
	config := configFrom(read, release)
	cmdline := strings.Fields(oneLine(read, "/proc/cmdline"))
	exists := func(path string) bool {
		_, err := read(path)
		return err == nil
	}
	for _, option := range timingOptions {
		on, known := config[option], config != nil
		if t, ok := telltale[option]; ok && !known {
			on = exists(t.file)
			known = on || exists(t.mounted)
		}
		switch option {
		case kmemleakOption: // mm/kmemleak.c: the last word on the command line counts
			leak := !config[kmemleakOff]
			for _, word := range cmdline {
				if value, ok := strings.CutPrefix(word, "kmemleak="); ok {
					leak = value == "on"
				}
			}
			on = on && leak
		case slubOption: // mm/slub.c: the command line has its own switch, and this file the state
			if poison := oneLine(read, "/sys/kernel/slab/kmalloc-64/poison"); poison != "" {
				on, known = poison == "1", true
			}
		}
		switch {
		case !known:
			d.Unknown = append(d.Unknown, option)
		case on:
			d.On = append(d.On, option)
		}
	}
	return d
}

// configFrom returns the options in the running kernel's configuration that are on, or nil if the
// machine does not have it.
func configFrom(read func(path string) ([]byte, error), release string) map[string]bool {
	paths := []string{"/proc/config.gz"}
	if release != "" {
		paths = append(paths, "/boot/config-"+release, "/lib/modules/"+release+"/config")
	}
	for _, path := range paths {
		if data, err := read(path); err == nil {
			if config := parseConfig(data); config != nil {
				return config
			}
		}
	}
	return nil
}

var configLine = regexp.MustCompile(`(?m)^(?:CONFIG_([A-Z0-9_a-z]+)=(.*)|# CONFIG_[A-Z0-9_a-z]+ is not set)$`)

// maxConfig limits a configuration in bytes. Those of distributions have 0.3 MB.
const maxConfig = 8 << 20

// parseConfig returns the options that are on (=y or =m) in a kernel's configuration, which may be
// compressed with gzip. An option that the configuration does not have is off. The result is nil if
// data is not a configuration.
func parseConfig(data []byte) map[string]bool {
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil
		}
		if data, err = io.ReadAll(io.LimitReader(z, maxConfig)); err != nil {
			return nil
		}
	}
	lines := configLine.FindAllSubmatch(data, -1)
	if lines == nil {
		return nil
	}
	on := map[string]bool{}
	for _, m := range lines {
		if value := string(m[2]); value == "y" || value == "m" {
			on[string(m[1])] = true
		}
	}
	return on
}
