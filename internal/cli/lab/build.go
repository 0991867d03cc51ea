package lab

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"vmtb/imagebuild"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/output"
	"vmtb/lab"
)

// buildOptions are the flags of "vmtb lab build".
type buildOptions struct {
	dut     *dutFlags
	asEnv   bool
	gpuTest bool
	asJSON  bool
}

func buildCommand(e *env.Env, d *dutFlags) *cobra.Command {
	o := buildOptions{dut: d}
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build the lab's images; only changed parts are built again",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := env.CancelOnInterrupt(cmd.Context())
			defer stop()
			return o.run(ctx, e)
		},
	}
	cmd.Flags().BoolVar(&o.asEnv, "env", false, "print the guest's files as variables for the integration tests")
	cmd.Flags().BoolVar(&o.gpuTest, "gpu-test", false,
		"build only the emulated GPU, for its own tests, and print its files as variables for them")
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "print the paths of the images as JSON")
	cmd.MarkFlagsMutuallyExclusive("env", "gpu-test", "json")
	return cmd
}

func (o *buildOptions) run(ctx context.Context, e *env.Env) error {
	if o.gpuTest {
		return buildGPUTest(ctx, e)
	}
	if err := o.dut.check(); err != nil {
		return err
	}
	images, err := o.dut.buildImages(ctx, e)
	if err != nil {
		return err
	}
	switch {
	case o.asJSON:
		return output.Print(e.Out, images)
	case o.asEnv:
		fmt.Fprintf(
			e.Out, "VMTB_TEST_KERNEL=%s\nVMTB_TEST_INITRD=%s\nVMTB_TEST_IMAGE=%s\n", images.GuestKernel,
			images.GuestInitrd, images.Guest,
		)
	default:
		fmt.Fprintf(e.Out, "DUT:   %s\nguest: %s\n", images.DUT, images.Guest)
	}
	return nil
}

// buildGPUTest builds the files for the tests in lab/gpu/qtest and prints their environment
// variables.
func buildGPUTest(ctx context.Context, e *env.Env) error {
	dir, err := imagebuild.CacheDir()
	if err != nil {
		return err
	}
	t, err := lab.BuildGPUTest(ctx, dir, e.Progress("lab"))
	if err == nil {
		fmt.Fprintf(
			e.Out, "VMTB_LAB_ROOT=%s\nVMTB_GPU_OBJECT=%s\nVMTB_GPU_SANITIZED=%s\n", t.Root, t.Plain, t.Sanitized,
		)
	}
	return err
}

func cleanCommand(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "clean",
		Short: "Remove the lab's images, so that they are built from new packages",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := imagebuild.CacheDir()
			if err != nil {
				return err
			}
			freed, err := imagebuild.Clean(cmd.Context(), dir, e.Progress("lab"))
			if err != nil {
				return err
			}
			fmt.Fprintf(e.Out, "%s: %d MiB freed\n", dir, freed>>20)
			return nil
		},
	}
}
