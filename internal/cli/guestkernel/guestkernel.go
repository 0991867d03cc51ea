package guestkernel

import (
	"context"
	"fmt"
	"runtime"

	"vmtb/bench"
	"vmtb/imagebuild"
	"vmtb/internal/cli/env"
)

// usualCmdline is the kernel command line of guests. As in the images of "vmtb image build", the console
// gets all kernel messages with their level, and GPU drivers are not loaded at boot.
const usualCmdline = "console=tty0 console=ttyS0,115200 rw modprobe.blacklist=xe,i915 loglevel=7 " +
	"console_msg_format=syslog"

// Prepare makes the files of the kernel that a configuration names for guests, and sets c.VM.Boot. If it
// names none, Prepare does nothing. flag is the name of the flag, for messages. The files exist until
// release is called.
func Prepare(ctx context.Context, e *env.Env, c *bench.Config, flag string) (release func(), err error) {
	k, err := imagebuild.ParseKernel(flag, c.Guest.Kernel)
	if err != nil || k.Own() {
		return func() {}, err
	}
	dir, err := imagebuild.CacheDir()
	if err != nil {
		return nil, err
	}
	g, err := imagebuild.BuildGuestKernel(ctx, dir, "/proc/self/exe", k, e.Progress("kernel"))
	if err != nil {
		return nil, err
	}
	if least := g.LeastMemoryMiB(); c.VM.MemoryMiB < least {
		return nil, &bench.UsageError{
			Err: fmt.Errorf(
				"%s=%s: guests have %d MiB of memory, and need %d MiB to boot this kernel with its modules", flag, k,
				c.VM.MemoryMiB, least,
			),
			Advice: fmt.Sprintf("--vm-memory=%d, or a kernel with fewer modules", least),
		}
	}
	c.VM.Boot = &bench.GuestBoot{Image: g.Image, Initrd: g.Initrd, Cmdline: usualCmdline, Release: g.Release}
	if c.Guest.Cmdline != "" {
		c.VM.Boot.Cmdline += " " + c.Guest.Cmdline
	}
	c.Guest.Kernel, err = k.Absolute()
	return func() { runtime.KeepAlive(g) }, err
}
