package vmtb

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/vm"
	"vmtb/imagebuild"
	"vmtb/internal/ansi"
	"vmtb/internal/prose"
)

func (a *app) imageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Guest images: make one, check one",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.imageBuildCommand(), a.imageCheckCommand())
	return cmd
}

func (a *app) imageBuildCommand() *cobra.Command {
	g := imagebuild.NewGuest{Version: version}
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Make a bootable guest image from Debian packages",
		Long: `Makes a guest image for machines with real VFs: Debian with a kernel whose xe drives VFs (that of trixie-backports in an image of
trixie, whose own kernel 6.12 cannot), qemu-guest-agent and IGT, on a disk that boots by itself. Packages come from the mirror that this machine's own package sources name, and stay in the cache.
Drivers of GPUs are not loaded at boot: flows do that, or you with modprobe.

In the guest, root has no password, and is logged in on the serial console; no SSH server is installed unless you ask for one.`,
		Example: `  vmtb image build -o guest_os.img
  vmtb image build --suite=forky --package=openssh-server,strace --size=8G -o big.img`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilInterrupted(cmd.Context())
			defer stop()
			return a.imageBuild(ctx, g)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&g.File, "output", "o", "guest_os.img", "the image, in qcow2 format")
	flags.StringVar(&g.Suite, "suite", "trixie", "Debian release")
	flags.StringSliceVar(&g.Packages, "package", nil, "Debian packages to install, beside its own")
	flags.Var(newMebibytes(&g.SizeMiB, 4096), "size", "size of the disk, like 8G; the file takes what is used")
	flags.BoolVar(&g.Force, "force", false, "replace the file if it is there")
	return cmd
}

func (a *app) imageBuild(ctx context.Context, g imagebuild.NewGuest) error {
	dir, err := imagebuild.CacheDir()
	if err != nil {
		return err
	}
	if err := imagebuild.BuildGuest(ctx, dir, g, a.progress("image")); err != nil {
		return err
	}
	fmt.Fprintln(a.out, g.File)
	return nil
}

func (a *app) imageCheckCommand() *cobra.Command {
	var flags configFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check image",
		Short: "Boot an image, without a VF, and look for what flows need in it",
		Args:  cobra.ExactArgs(1), ValidArgsFunction: completeImage,
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.image = args[0]
			config, _, err := flags.load()
			if err != nil {
				return err
			}
			ctx, stop := untilInterrupted(cmd.Context())
			defer stop()
			return a.newPatient(config, true).imageCheck(ctx, asJSON)
		},
	}
	flags.addFile(cmd)
	flags.addFirmware(cmd)
	flags.addShared(cmd)
	hideRunFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects: check, health (ok, skip, warn, bad), found, remedy")
	return cmd
}

// imageCheck looks at the configured image from outside, and if that is well from inside.
func (p *patient) imageCheck(ctx context.Context, asJSON bool) error {
	inside := &guestCheck{patient: p, absent: "give the path of an image; vmtb image build makes one"}
	defer inside.end(context.WithoutCancel(ctx))
	checks := []checkup{
		{"image", inside.disk},
		{"boot", inside.boot},
		{"agent", inside.agent},
		{"console", inside.console},
		{"driver", inside.driver},
		{"igt", inside.igt},
		{"sleep", inside.sleep},
		{"recipe", inside.recipe},
	}
	return p.examineBy(ctx, checks, asJSON)
}

// A guestCheck is an image that is booted to be looked into.
type guestCheck struct {
	*patient
	absent string // what to do about an image that is not there, unless "" (the error's own advice)
	disked bool   // it is a disk that firmware can boot
	m      *vm.VM // nil when it does not run
}

const needOfImage = "the image must boot by itself and start qemu-guest-agent"

// lookAtImage is [vm.LookAtImage], or a test's.
type lookAtImage func(ctx context.Context, image string, firmware vm.Firmware) (vm.ImageInfo, error)

// guestImage looks at the configured image, from outside, before anything boots it: all commands do it in this way.
func guestImage(ctx context.Context, config *bench.Config, look lookAtImage) (vm.ImageInfo, error) {
	image, firmware := config.Guest.OSImage, vm.Firmware(config.VM.Firmware)
	err := vm.CheckImage(image)
	if usage, ok := errors.AsType[*bench.UsageError](err); ok && usage.Advice == "" {
		usage.Advice = "--vm-image, or guest.os_image in the configuration, names the disk image to boot"
	}
	if err == nil {
		err = vm.CheckFirmware(firmware)
	}
	if err != nil {
		return vm.ImageInfo{}, err
	}
	return look(ctx, image, firmware)
}

func describeImage(c *bench.Config, info vm.ImageInfo) string {
	by := ""
	if c.VM.Firmware != string(vm.BIOS) {
		by = ", booted by UEFI"
	}
	return fmt.Sprintf("%s, %s, a disk of %s in a file of %s%s", c.Guest.OSImage, info.Format, prose.Bytes(info.Size), prose.Bytes(info.Used), by)
}

// disk looks at the image from outside, for all that it takes to boot it.
func (g *guestCheck) disk(ctx context.Context, p *patient) diagnosis {
	info, err := guestImage(ctx, p.config, p.inspect)
	if err != nil {
		d := failed(err)
		if errors.Is(err, fs.ErrNotExist) {
			d.Remedy = cmp.Or(g.absent, d.Remedy)
		}
		return d
	}
	g.disked = true
	return fine("%s", describeImage(p.config, info))
}

// boot starts the image without a VF, and waits for its agent.
func (g *guestCheck) boot(ctx context.Context, p *patient) diagnosis {
	if !g.disked {
		return skip("there is nothing to boot")
	}
	dir, err := os.MkdirTemp("", "vmtb-image-")
	if err != nil {
		return failed(err)
	}
	shape, start := p.config.VM, time.Now()
	m, err := vm.Start(ctx, vm.Spec{
		Name: "guest", QEMU: shape.QEMU, Machine: shape.Machine, Firmware: vm.Firmware(shape.Firmware), MemoryMiB: shape.MemoryMiB, CPUs: shape.CPUs,
		Disks: []vm.Disk{{Image: p.config.Guest.OSImage, Bus: shape.DiskBus}}, Extra: shape.ExtraArgs,
	}, vm.Options{Dir: dir, Scale: p.config.TimeoutScale})
	if err != nil {
		return failed(errors.Join(err, os.RemoveAll(dir)))
	}
	err = p.booting("guest", "booting "+p.config.Guest.OSImage, filepath.Join(dir, "console.log"), m.BootLimit(), func() error { return m.WaitReady(ctx) })
	if err != nil { // the folder stays: the evidence in it is named
		d := failed(errors.Join(err, m.Close(context.WithoutCancel(ctx))))
		d.Remedy = remedyByConsole(dir)
		return d
	}
	g.m = m
	return fine("its agent answers %s after power on (%s)", prose.Duration(time.Since(start)), m.Accel().Name)
}

// remedyByConsole is what to do about an image whose agent does not come up, by what it has said until then.
func remedyByConsole(dir string) string {
	console, _ := os.ReadFile(filepath.Join(dir, "console.log")) // none is as good as an empty one
	switch {
	case bytes.Contains(console, []byte("login:")):
		return "it boots as far as a login: install and enable qemu-guest-agent in it"
	case len(bytes.TrimSpace([]byte(ansi.Strip(string(console))))) == 0:
		return needOfImage + "; that nothing came on the serial console may be for want of console=ttyS0 on its kernel's command line"
	}
	return needOfImage + "; if it was still busy with that, --timeout-scale=2 gives it more time"
}

// end shuts the guest down. That it does not heed is no finding about what flows need.
func (g *guestCheck) end(ctx context.Context) {
	if g.m == nil {
		return
	}
	_, _ = g.m.PowerOff(ctx)
	_ = g.m.Close(ctx)
	_ = os.RemoveAll(g.m.Dir())
}

// asked is a check that asks the guest, if it has booted.
func (g *guestCheck) asked(ask func() diagnosis) diagnosis {
	if g.m == nil {
		return skip("it has not booted")
	}
	return ask()
}

func (g *guestCheck) agent(ctx context.Context, _ *patient) diagnosis {
	return g.asked(func() diagnosis {
		info, err := g.m.Agent().Info(ctx)
		if err == nil {
			err = info.Check("guest-exec", "guest-exec-status", "guest-file-open", "guest-file-read", "guest-file-write", "guest-file-flush", "guest-file-close", "guest-shutdown")
		}
		if err != nil {
			return bad("allow it in the guest's /etc/qemu/qemu-ga.conf, or on RHEL and its relatives in /etc/sysconfig/qemu-ga (FILTER_RPC_ARGS, "+
				"BLOCK_RPCS); or install a newer agent", "%v", err)
		}
		return fine("version %s, all that flows use is allowed", info.Version)
	})
}

func (g *guestCheck) console(ctx context.Context, _ *patient) diagnosis {
	return g.asked(func() diagnosis { return lookAtConsole(ctx, g.m) })
}

func (g *guestCheck) driver(ctx context.Context, p *patient) diagnosis {
	return g.asked(func() diagnosis { return lookForDriver(ctx, p, g.m) })
}

func (g *guestCheck) igt(ctx context.Context, p *patient) diagnosis {
	return g.asked(func() diagnosis { return lookForIGT(ctx, p, g.m) })
}

func (g *guestCheck) sleep(ctx context.Context, _ *patient) diagnosis {
	return g.asked(func() diagnosis {
		info, err := g.m.Agent().Info(ctx)
		if err == nil {
			err = info.Check("guest-suspend-ram")
		}
		if err != nil {
			return warn("flows that suspend the guest are skipped", "%v", err)
		}
		return fine("the agent can suspend it")
	})
}

// recipeFile is what "vmtb image build" leaves in an image.
const recipeFile = "/etc/vmtb-image"

func (g *guestCheck) recipe(ctx context.Context, _ *patient) diagnosis {
	return g.asked(func() diagnosis {
		text, err := g.m.ReadFile(ctx, recipeFile)
		if err != nil {
			return skip("it has no %s: it was not made by vmtb image build", recipeFile)
		}
		return fine("%s", strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", ", "))
	})
}

// lookForIGT looks for what flows run of IGT in a guest.
func lookForIGT(ctx context.Context, p *patient, m bench.Machine) diagnosis {
	igt := p.config.Guest.IGT
	for _, file := range []string{path.Join(igt.ToolDir, "igt_runner"), path.Join(igt.TestDir, p.config.Guest.Driver+"_exec_store")} {
		if there, err := executable(ctx, m, file); err != nil {
			return failed(err)
		} else if !there {
			return warn("flows that run IGT in guests are skipped: install it in the image, or say in the configuration (guest.igt) where it is", "it has no %s", file)
		}
	}
	return fine("igt_runner and the tests are there")
}

// executable reports whether a machine has a program.
func executable(ctx context.Context, m bench.Machine, file string) (bool, error) {
	entries, err := m.ReadDir(ctx, path.Dir(file))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	for _, e := range entries {
		if e.Name == path.Base(file) {
			return true, nil
		}
	}
	return false, err
}
