package image

import (
	"github.com/spf13/cobra"

	"vmtb/internal/cli/env"
)

// checkOptions are the flags of "vmtb image check".
type checkOptions struct {
	env.ConfigFlags
	asJSON bool
}

func checkCommand(e *env.Env) *cobra.Command {
	var o checkOptions
	cmd := &cobra.Command{
		Use:   "check image",
		Short: "Boot an image, without a VF, and check that it has what flows need",
		Args:  cobra.ExactArgs(1), ValidArgsFunction: completeImage,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Image = args[0]
			config, _, err := o.Load()
			if err != nil {
				return err
			}
			ctx, stop := env.CancelOnInterrupt(cmd.Context())
			defer stop()
			return e.PrintChecks(ctx, e.Target(config, true).CheckImage, o.asJSON)
		},
	}
	o.AddFile(cmd)
	o.AddFirmware(cmd)
	o.AddShared(cmd)
	env.HideRunFlags(cmd)
	cmd.Flags().BoolVar(
		&o.asJSON, "json", false, "print an array of objects: check, health (ok, skip, warn, bad), found, remedy",
	)
	return cmd
}

// completeImage offers guest images for the first argument, and nothing for further ones.
func completeImage(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return env.ImageExts, cobra.ShellCompDirectiveFilterFileExt
}
