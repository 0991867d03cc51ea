package doctor

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"vmtb/bench"
	"vmtb/bench/vm"
	"vmtb/internal/ansi"
	"vmtb/internal/pick"
	"vmtb/internal/prose"
)

// CheckImage runs all checks of the configured guest image, and returns their results. It checks
// the image first from outside, then in a machine without VFs that boots it. It calls each with
// every result as soon as it is known.
func (t *Target) CheckImage(ctx context.Context, each func(Result)) ([]Result, error) {
	g := &guestCheck{absent: "give the path of an image; vmtb image build makes one"}
	defer g.end(context.WithoutCancel(ctx))
	return t.run(ctx, []check{
		{"image", g.image},
		{"boot", g.boot},
		{"agent", g.agent},
		{"console", g.console},
		{"driver", g.driver},
		{"igt", g.igt},
		{"sleep", g.sleep},
		{"recipe", g.recipe},
	}, each)
}

// checkGuest boots the guest image without a VF, and checks that flows can run in the guest.
func checkGuest(ctx context.Context, t *Target) Result {
	if !t.Deep {
		return skip("not checked; --deep boots the image")
	}
	g := &guestCheck{}
	defer g.end(context.WithoutCancel(ctx))
	for _, run := range []func(context.Context, *Target) Result{g.image, g.boot, g.driver, g.igt} {
		if r := run(ctx, t); r.Status != OK {
			return r
		}
	}
	return good("boots, agent, driver %s and IGT inside", t.Config.Guest.Driver)
}

// A guestCheck is a guest image, and the machine that has booted it.
type guestCheck struct {
	absent   string // the remedy for a missing image; "" means the error's own advice
	bootable bool   // the image is a disk that firmware can boot
	m        *vm.VM // nil if the machine does not run
}

const needOfImage = "the image must boot by itself and start qemu-guest-agent"

// image checks from outside that the image can be booted.
func (g *guestCheck) image(ctx context.Context, t *Target) Result {
	info, err := pick.GuestImage(ctx, t.Config, t.inspect)
	if err != nil {
		d := fromError(err)
		if errors.Is(err, fs.ErrNotExist) {
			d.Remedy = cmp.Or(g.absent, d.Remedy)
		}
		return d
	}
	g.bootable = true
	return good("%s", pick.DescribeImage(t.Config, info))
}

// boot starts the image without a VF, and waits for its agent.
func (g *guestCheck) boot(ctx context.Context, t *Target) Result {
	if !g.bootable {
		return skip("there is nothing to boot")
	}
	dir, err := os.MkdirTemp("", "vmtb-image-")
	if err != nil {
		return fromError(err)
	}
	start := time.Now()
	spec := vm.SpecFor(t.Config.VM, t.Config.Guest.OSImage)
	spec.Name = "guest"
	m, err := vm.Start(ctx, spec, vm.Options{Dir: dir, Scale: t.Config.TimeoutScale})
	if err != nil {
		return fromError(errors.Join(err, os.RemoveAll(dir)))
	}
	err = t.Booting("booting "+t.Config.Guest.OSImage, filepath.Join(dir, "console.log"), m.BootLimit(),
		func() error { return m.WaitReady(ctx) })
	if err != nil { // the folder stays: the error names the evidence in it
		d := fromError(errors.Join(err, m.Close(context.WithoutCancel(ctx))))
		d.Remedy = remedyByConsole(dir)
		return d
	}
	g.m = m
	return good("its agent answers %s after power on (%s)", prose.Duration(time.Since(start)), m.Accel().Name)
}

// remedyByConsole returns what to do about an image whose agent does not answer. It judges by the
// console.
func remedyByConsole(dir string) string {
	// A missing file is like an empty one.
	console, _ := os.ReadFile(filepath.Join(dir, "console.log"))
	switch {
	case bytes.Contains(console, []byte("login:")):
		return "the image boots to a login: install and enable qemu-guest-agent in it"
	case len(bytes.TrimSpace([]byte(ansi.Strip(string(console))))) == 0:
		return needOfImage + "; the serial console is empty, so console=ttyS0 may be missing on its kernel's " +
			"command line"
	}
	return needOfImage + "; if it was still booting, --timeout-scale=2 gives it more time"
}

// end shuts the guest down. It ignores errors: flows do not need a guest that shuts down on
// request.
func (g *guestCheck) end(ctx context.Context) {
	if g.m == nil {
		return
	}
	_, _ = g.m.Power().Off(ctx)
	_ = g.m.Close(ctx)
	_ = os.RemoveAll(g.m.Dir())
}

// booted calls run, which examines the guest, if the guest has booted. Otherwise the check is
// skipped.
func (g *guestCheck) booted(run func() Result) Result {
	if g.m == nil {
		return skip("the guest has not booted")
	}
	return run()
}

func (g *guestCheck) agent(ctx context.Context, _ *Target) Result {
	return g.booted(func() Result {
		info, err := g.m.Agent().Info(ctx)
		if err == nil {
			err = info.Check(
				"guest-exec", "guest-exec-status", "guest-file-open", "guest-file-read", "guest-file-write",
				"guest-file-flush", "guest-file-close", "guest-shutdown",
			)
		}
		if err != nil {
			return bad("allow the command in the guest's /etc/qemu/qemu-ga.conf, or on RHEL and similar systems in "+
				"/etc/sysconfig/qemu-ga (FILTER_RPC_ARGS, "+
				"BLOCK_RPCS); or install a newer agent", "%v", err)
		}
		return good("version %s, all commands that flows use are allowed", info.Version)
	})
}

func (g *guestCheck) console(ctx context.Context, _ *Target) Result {
	return g.booted(func() Result { return checkGuestConsole(ctx, g.m) })
}

func (g *guestCheck) driver(ctx context.Context, t *Target) Result {
	return g.booted(func() Result { return checkGuestDriver(ctx, t, g.m) })
}

func (g *guestCheck) igt(ctx context.Context, t *Target) Result {
	return g.booted(func() Result { return checkGuestIGT(ctx, t, g.m) })
}

func (g *guestCheck) sleep(ctx context.Context, _ *Target) Result {
	return g.booted(func() Result {
		info, err := g.m.Agent().Info(ctx)
		if err == nil {
			err = info.Check("guest-suspend-ram")
		}
		if err != nil {
			return warn("flows that suspend the guest are skipped", "%v", err)
		}
		return good("the agent can suspend the guest")
	})
}

// recipeFile is the file that "vmtb image build" writes into an image.
const recipeFile = "/etc/vmtb-image"

func (g *guestCheck) recipe(ctx context.Context, _ *Target) Result {
	return g.booted(func() Result {
		text, err := g.m.ReadFile(ctx, recipeFile)
		if err != nil {
			return skip("the image has no %s: it was not made by vmtb image build", recipeFile)
		}
		return good("%s", strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", ", "))
	})
}

// checkGuestIGT checks that a guest has the IGT programs that flows run.
func checkGuestIGT(ctx context.Context, t *Target, m bench.Machine) Result {
	igt := t.Config.Guest.IGT
	programs := []string{
		path.Join(igt.ToolDir, "igt_runner"), path.Join(igt.TestDir, t.Config.Guest.Driver+"_exec_store"),
	}
	for _, file := range programs {
		if found, err := hasProgram(ctx, m, file); err != nil {
			return fromError(err)
		} else if !found {
			const remedy = "flows that run IGT in guests are skipped: " +
				"install IGT in the image, or give its path in the configuration (guest.igt)"
			return warn(remedy, "the image has no %s", file)
		}
	}
	return good("igt_runner and the tests exist")
}

// hasProgram reports whether a machine has a program.
func hasProgram(ctx context.Context, m bench.Machine, file string) (bool, error) {
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
