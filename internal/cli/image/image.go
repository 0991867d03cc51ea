package image

import (
	"github.com/spf13/cobra"

	"vmtb/internal/cli/env"
)

// Command returns "vmtb image".
func Command(e *env.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Guest images: make one, check one",
	}
	cmd.AddCommand(buildCommand(e), checkCommand(e))
	return cmd
}
