package image

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"vmtb/imagebuild"
	"vmtb/internal/cli/env"
)

func buildCommand(e *env.Env) *cobra.Command {
	g := imagebuild.NewGuest{Version: e.Version}
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Make a bootable guest image from Debian packages",
		Long: `Makes a guest image for machines with real VFs: Debian with a kernel whose xe drives VFs (trixie's
own kernel 6.12 cannot, so an image of trixie has the kernel of trixie-backports), qemu-guest-agent and IGT,
on a disk that boots by itself. Packages come from the mirror that this machine's own package sources name,
and stay in the cache. GPU drivers are not loaded at boot: flows load them. To load one by hand, use modprobe.

In the guest, root has no password, and is logged in on the serial console; no SSH server is installed unless
--package names one.`,
		Example: `  vmtb image build -o guest_os.img
  vmtb image build --suite=forky --package=openssh-server,strace --size=8G -o big.img`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := env.CancelOnInterrupt(cmd.Context())
			defer stop()
			return build(ctx, e, g)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&g.File, "output", "o", "guest_os.img", "the image, in qcow2 format")
	flags.StringVar(&g.Suite, "suite", "trixie", "Debian release")
	flags.StringSliceVar(&g.Packages, "package", nil, "more Debian packages to install")
	flags.Var(env.NewMebibytes(&g.SizeMiB, 4096), "size", "size of the disk, like 8G; the file has only the used part")
	flags.BoolVar(&g.Force, "force", false, "replace the file if it exists")
	return cmd
}

func build(ctx context.Context, e *env.Env, g imagebuild.NewGuest) error {
	dir, err := imagebuild.CacheDir()
	if err != nil {
		return err
	}
	if err := imagebuild.BuildGuest(ctx, dir, g, e.Progress("image")); err != nil {
		return err
	}
	fmt.Fprintln(e.Out, g.File)
	return nil
}
