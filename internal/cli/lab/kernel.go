package lab

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/pflag"

	"vmtb/bench"
	"vmtb/imagebuild"
	"vmtb/internal/cli/env"
)

// kernelFlags select the kernels of the DUT and its guests, their command lines and their modules.
type kernelFlags struct {
	kernel, guestKernel   string
	cmdline, guestCmdline string
	params                []string // MODULE.PARAM=VALUE, of the DUT's kernel
	modules, guestModules []string // paths
	patch, guestPatch     string   // paths

	dutSide, guestSide imagebuild.Side // set by check
}

func (k *kernelFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&k.kernel, "kernel", "", "kernel of the DUT: "+env.KernelKinds)
	flags.StringVar(&k.guestKernel, "guest-kernel", "", "kernel of the guests, as --kernel")
	flags.StringVar(&k.cmdline, "cmdline", "", "additional parameters for the command line of the DUT's kernel")
	flags.StringVar(&k.guestCmdline, "guest-cmdline", "", "the same for the guests' kernel")
	flags.StringArrayVar(&k.params, "module-param", nil,
		"MODULE.PARAM=VALUE for a module of the DUT's kernel: --module-param=xe.guc_log_level=5; may be given more "+
			"than once")
	flags.StringArrayVar(&k.modules, "module", nil,
		"kernel module for the DUT, NAME.ko, which replaces the kernel's own; may be given more than once")
	flags.StringArrayVar(&k.guestModules, "guest-module", nil, "the same for the guests")
	flags.StringVar(&k.patch, "patch", "",
		"patch of a kernel tree; the DUT's xe and xe-vfio-pci are built with it")
	flags.StringVar(&k.guestPatch, "guest-patch", "", "the same for the guests")
}

// given reports whether a flag is for a DUT that is booted, and not for one that is up.
func (k *kernelFlags) given() bool {
	return k.kernel != "" || k.guestKernel != "" || k.cmdline != "" || k.guestCmdline != "" ||
		len(k.params)+len(k.modules)+len(k.guestModules)+len(k.patch)+len(k.guestPatch) > 0
}

var moduleParam = regexp.MustCompile(`^[a-zA-Z0-9_-]+\.[a-zA-Z0-9_.-]+=\S+$`)

// check returns a [bench.UsageError] for flags that cannot be right. It reads the modules, and looks at
// kernels that the user has built.
func (k *kernelFlags) check() error {
	for _, p := range k.params {
		if !moduleParam.MatchString(p) {
			return &bench.UsageError{
				Err:    fmt.Errorf("--module-param=%s: want MODULE.PARAM=VALUE", p),
				Advice: "for example --module-param=xe.guc_log_level=5",
			}
		}
	}
	for _, c := range []struct{ flag, text string }{{"--cmdline", k.cmdline}, {"--guest-cmdline", k.guestCmdline}} {
		if strings.ContainsAny(c.text, "\n\x00") {
			return &bench.UsageError{Err: fmt.Errorf("%s=%q: want one line", c.flag, c.text)}
		}
	}
	var errs [6]error
	k.dutSide.Kernel, errs[0] = imagebuild.ParseKernel("--kernel", k.kernel)
	k.guestSide.Kernel, errs[1] = imagebuild.ParseKernel("--guest-kernel", k.guestKernel)
	k.dutSide.Modules, errs[2] = readModules("--module", k.modules)
	k.guestSide.Modules, errs[3] = readModules("--guest-module", k.guestModules)
	k.dutSide.Patch, errs[4] = readPatch("", k.patch, k.kernel, k.modules)
	k.guestSide.Patch, errs[5] = readPatch("guest-", k.guestPatch, k.guestKernel, k.guestModules)
	k.guestSide.Cmdline = strings.TrimSpace(k.guestCmdline)
	return errors.Join(errs[:]...)
}

// readPatch reads the patch of a side, whose flags begin with prefix.
func readPatch(prefix, path, kernel string, modules []string) (imagebuild.Patch, error) {
	switch {
	case path == "":
		return imagebuild.Patch{}, nil
	case kernel != "" || len(modules) > 0:
		return imagebuild.Patch{}, &bench.UsageError{
			Err:    fmt.Errorf("--%spatch is for the lab's own kernel and modules", prefix),
			Advice: fmt.Sprintf("leave out --%[1]skernel and --%[1]smodule", prefix),
		}
	}
	return imagebuild.ReadPatch("--"+prefix+"patch", path)
}

func readModules(flag string, paths []string) (modules []imagebuild.Module, err error) {
	seen := map[string]string{}
	for _, path := range paths {
		m, readErr := imagebuild.ReadModule(flag, path)
		if readErr == nil && seen[m.Name] != "" {
			err := fmt.Errorf("%s: %s and %s are both module %s", flag, seen[m.Name], path, m.Name)
			readErr = &bench.UsageError{Err: err, Advice: "leave one out"}
		}
		seen[m.Name] = path
		modules, err = append(modules, m), errors.Join(err, readErr)
	}
	return modules, err
}

// ownKernel reports whether the user has built a part of the lab's kernels. Such a lab boots: a saved
// state of it takes longer to make than a boot, and the next build has no use for it.
func (k *kernelFlags) ownKernel() bool {
	return k.dutSide.Kernel.Built() || k.guestSide.Kernel.Built() ||
		len(k.modules)+len(k.guestModules)+len(k.patch)+len(k.guestPatch) > 0
}

// parameters returns the additional parameters of the DUT's kernel.
func (k *kernelFlags) parameters() []string { return append(strings.Fields(k.cmdline), k.params...) }
