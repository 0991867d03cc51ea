package vmtb_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The arrows of the design: which rooms of this module a room may import, itself and what those import included.
// A room is a directory with all below it, unless a longer one is named.
var arrows = map[string][]string{
	"cmd/vmtb": {".", "vmm_flows"},
	"vmm_flows": {
		"flow", "bench", "bench/host", "bench/pci", "bench/qga", "bench/qmp", "bench/undo", "bench/vm",
		"bench/vm/assigned", "bench/vm/warm", "bench/work", "bench/xe", "bench/xe/vgpu", "internal/procfs",
		"internal/prose",
	},
	"report":            {"flow", "bench", "report/run", "report/html", "internal/atomicfile", "internal/prose"},
	"report/run":        {"flow", "internal/ansi", "internal/prose"},
	"report/html":       {"flow", "bench", "report/run", "internal/atomicfile", "internal/prose"},
	"report/terminal":   {"flow", "report/run", "internal/prose"},
	"report/reporttest": {"flow"},
	"flow": {
		"bench", "bench/undo", "internal/strictjson", "internal/atomicfile", "internal/flock", "internal/procfs",
		"internal/prose",
	},
	"lab": {
		"imagebuild", "bench", "bench/vm", "bench/vm/warm", "bench/qga", "bench/qmp", "internal/cache",
		"internal/progress", "internal/rawterm", "internal/atomicfile", "internal/filecopy",
		"internal/procfs",
	},
	"imagebuild": {
		"bench", "internal/cache", "internal/progress", "internal/atomicfile", "internal/filecopy", "internal/initrd",
	},
	"bench":           {"internal/strictjson"},
	"bench/benchtest": {"bench"},
	"bench/undo":      {"bench", "internal/atomicfile", "internal/flock", "internal/procfs"},
	"bench/sysfs":     {"bench", "bench/undo", "internal/prose"},
	"bench/qmp":       {"internal/prose"},
	"bench/qga":       {"bench", "bench/qmp"},
	"bench/pci":       {"bench", "bench/sysfs", "bench/undo", "internal/prose"},
	"bench/klog":      {"bench", "internal/ansi", "internal/strictjson"},
	"bench/host":      {"bench", "bench/sysfs", "bench/undo", "bench/pci", "internal/flock", "internal/prose"},
	"bench/xe": {
		"bench", "bench/sysfs", "bench/undo", "bench/pci", "bench/host", "bench/vfio", "bench/xe/vgpu",
		"internal/prose",
	},
	"bench/xe/vgpu": {"bench", "internal/strictjson", "internal/prose"},
	"bench/vfio":    {},
	"bench/vm": {
		"bench", "bench/klog", "bench/qmp", "bench/qga", "bench/pci", "bench/undo", "bench/vm/guard", "internal/ansi",
		"internal/procfs", "internal/prose",
	},
	"bench/vm/guard":    {"bench"},
	"bench/vm/assigned": {"bench/pci", "bench/vm", "bench/xe"},
	"bench/vm/warm": {
		"bench", "bench/vm", "internal/atomicfile", "internal/cache", "internal/filecopy", "internal/procfs",
		"internal/progress",
	},
	"bench/work": {"bench", "bench/undo", "internal/procfs"},
	"bench/keep": {
		"bench", "bench/qmp", "bench/qga", "bench/undo", "bench/vm", "internal/atomicfile", "internal/flock",
		"internal/prose",
	},
	"internal/ansi":       {},
	"internal/prose":      {},
	"internal/labels":     {},
	"internal/progress":   {"internal/prose"},
	"internal/rawterm":    {},
	"internal/booktest":   {},
	"internal/booktext":   {},
	"internal/strictjson": {},
	"internal/atomicfile": {"internal/prose"},
	"internal/cache":      {"bench", "internal/flock", "internal/progress"},
	"internal/filecopy":   {},
	"internal/flock":      {},
	"internal/igttable":   {},
	"internal/initrd":     {},
	"internal/procfs":     {},

	// The command half, from what stands on the rest to what the rest stands on.
	".": {"flow", "internal/cli"},
	"internal/cli": {
		"bench", "bench/host", "bench/keep", "bench/vm", "bench/vm/guard", "docs", "flow", "internal/ansi",
		"internal/booktext",
		"internal/cli/env", "internal/cli/flows", "internal/cli/host", "internal/cli/image", "internal/cli/lab",
		"internal/cli/output", "internal/cli/run", "internal/cli/vf", "internal/cli/vm", "internal/hoststate",
		"internal/initrd",
	},
	"docs": {},
	"internal/cli/run": {
		"bench", "bench/host", "bench/keep", "bench/klog", "bench/vm", "bench/xe", "flow", "internal/ansi",
		"internal/cli/env", "internal/cli/flows", "internal/cli/guestkernel", "internal/kernelwatch", "internal/pick",
		"internal/prose", "report", "report/terminal",
	},
	"internal/cli/lab": {
		"bench", "bench/keep", "bench/vm", "flow", "imagebuild", "internal/ansi", "internal/cli/env",
		"internal/cli/flows", "internal/cli/machines", "internal/cli/output", "internal/hoststate",
		"internal/kernelwatch",
		"internal/atomicfile", "internal/progress", "internal/prose", "lab", "report", "report/run", "report/terminal",
	},
	"internal/cli/image":       {"imagebuild", "internal/cli/env"},
	"internal/cli/guestkernel": {"bench", "imagebuild", "internal/cli/env"},
	"internal/cli/host": {
		"bench", "bench/host", "bench/keep", "bench/undo", "flow", "internal/ansi", "internal/cli/env",
		"internal/cli/flows", "internal/hoststate", "internal/labels",
	},
	"internal/cli/flows": {
		"bench", "bench/klog", "flow", "internal/ansi", "internal/atomicfile", "internal/cli/env",
		"internal/cli/output",
		"internal/kernelwatch", "internal/prose", "report", "report/terminal",
	},
	"internal/cli/vf": {
		"bench", "bench/host", "bench/pci", "bench/undo", "bench/xe", "bench/xe/vgpu", "flow", "internal/ansi",
		"internal/atomicfile", "internal/cli/env", "internal/cli/output", "internal/hoststate", "internal/pick",
		"internal/prose",
	},
	"internal/cli/vm": {
		"bench", "bench/host", "bench/keep", "bench/pci", "bench/vm", "bench/vm/assigned", "bench/vm/warm", "bench/xe",
		"internal/ansi",
		"internal/atomicfile", "internal/cli/env", "internal/cli/guestkernel",
		"internal/cli/machines", "internal/cli/output",
		"internal/hoststate", "internal/pick",
		"internal/prose", "internal/rawterm",
	},
	"internal/cli/machines": {
		"bench", "bench/keep", "bench/vm", "flow", "internal/ansi", "internal/cli/env", "internal/cli/output",
		"internal/hoststate",
		"internal/prose",
	},
	"internal/cli/env": {
		"bench", "bench/host", "bench/pci", "bench/undo", "bench/xe/vgpu", "flow", "internal/ansi",
		"internal/cli/output",
		"internal/doctor", "internal/hoststate", "internal/progress", "internal/prose", "report/terminal",
	},
	"internal/cli/output": {"bench/keep", "bench/vm", "bench/xe", "flow", "internal/doctor", "internal/pick", "lab"},
	"internal/doctor": {
		"bench", "bench/host", "bench/klog", "bench/pci", "bench/vm", "bench/xe", "bench/xe/vgpu", "imagebuild",
		"internal/ansi",
		"internal/hoststate", "internal/labels", "internal/pick", "internal/prose",
	},
	"internal/hoststate": {
		"bench", "bench/host", "bench/keep", "bench/pci", "bench/undo", "bench/vm/warm", "bench/work", "bench/xe",
		"flow", "internal/pick", "internal/procfs", "internal/prose",
	},
	"internal/kernelwatch": {"bench", "bench/host", "bench/klog", "flow", "internal/prose"},
	"internal/pick":        {"bench", "bench/host", "bench/pci", "bench/vm", "bench/xe", "internal/prose"},
}

// room is the longest key of arrows that the package lies in, "" for fakes and other test-only packages.
func room(pkg string) string {
	if pkg == "vmtb" {
		return "."
	}
	pkg = strings.TrimPrefix(pkg, "vmtb/")
	if strings.HasPrefix(pkg, "internal/fake") {
		return "internal/fake"
	}
	for p := pkg; p != ""; p = p[:max(0, strings.LastIndexByte(p, '/'))] {
		if _, ok := arrows[p]; ok {
			return p
		}
	}
	return ""
}

func TestArrows(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}}:{{join .Imports \" \"}}", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for line := range strings.Lines(string(out)) {
		pkg, imports, _ := strings.Cut(strings.TrimSpace(line), ":")
		from := room(pkg)
		if from == "internal/fake" {
			continue // fakes may know what they fake
		}
		if from == "" {
			t.Errorf("%s lies in no room of the design", pkg)
			continue
		}
		for _, imported := range strings.Fields(imports) {
			if imported != "vmtb" && !strings.HasPrefix(imported, "vmtb/") {
				continue
			}
			checked++
			if to := room(imported); to != from && !slices.Contains(arrows[from], to) {
				t.Errorf("%s imports %s: the arrow %s -> %s is not in the design", pkg, imported, from, to)
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d imports seen: does go list still print what this test reads?", checked)
	}
}

// What may not be reached at all, through whatever comes between.
func TestNeverReached(t *testing.T) {
	never := map[string][]string{
		"./bench/...":  {"vmtb/flow", "vmtb/report", "vmtb/vmm_flows", "vmtb/lab", "vmtb/imagebuild"},
		"./imagebuild": {"vmtb/lab", "vmtb/bench/vm"},
		"./flow":       {"vmtb/bench/vm", "vmtb/bench/xe", "vmtb/bench/sysfs", "vmtb/bench/pci", "vmtb/bench/host"},
		".":            {"vmtb/vmm_flows"},
		"./cmd/vmtb":   {"vmtb/internal/fake", "vmtb/bench/benchtest", "github.com/nats-io"},
	}
	for from, barred := range never {
		out, err := exec.Command("go", "list", "-deps", from).Output()
		if err != nil {
			t.Fatal(err)
		}
		deps := strings.Fields(string(out))
		for _, bad := range barred {
			for _, dep := range deps {
				if dep == bad || strings.HasPrefix(dep, bad+"/") {
					t.Errorf("%s reaches %s", from, dep)
				}
			}
		}
	}
}

// Every package has a doc.go that a newcomer can start from.
func TestEveryPackageHasDoc(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.Name}} {{.ImportPath}} {{join .GoFiles \" \"}}", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if f[0] != "main" && len(f) > 2 && !slices.Contains(f[2:], "doc.go") {
			t.Errorf("%s has no doc.go", f[1])
		}
	}
}

// "make integration" runs what is called TestIntegration..., and not the unit tests again.
func TestEveryIntegrationTestRuns(t *testing.T) {
	name := regexp.MustCompile(`(?m)^func (Test\w*)\(t \*testing`)
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_integration_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range name.FindAllStringSubmatch(string(text), -1) {
			if !strings.HasPrefix(m[1], "TestIntegration") {
				t.Errorf("%s: %s: make integration does not run it", path, m[1])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Rooms of commands never import each other: what two of them need is in a room below.
func TestCommandRoomsAreApart(t *testing.T) {
	rooms := []string{"run", "vf", "vm", "image", "lab", "host"}
	for _, from := range rooms {
		for _, to := range rooms {
			if slices.Contains(arrows["internal/cli/"+from], "internal/cli/"+to) {
				t.Errorf("%s may import %s", from, to)
			}
		}
	}
}
