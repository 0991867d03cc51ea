package env

import (
	"maps"
	"slices"

	"github.com/spf13/cobra"
)

// ImageExts and ConfigExts are the file name extensions of guest images and of configuration files.
var (
	ImageExts  = []string{"img", "qcow2"}
	ConfigExts = []string{"json"}
)

// CompleteValues has the shell complete the values of flags that have only a few values.
func CompleteValues(cmd *cobra.Command, values map[string][]string) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		// This fails if the flag does not exist, or is completed already: tests find both.
		_ = cmd.RegisterFlagCompletionFunc(
			name, cobra.FixedCompletions(values[name], cobra.ShellCompDirectiveNoFileComp),
		)
	}
}

// CompleteDirs offers directories for every argument.
func CompleteDirs(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// CompleteDir offers directories for the first argument, and nothing for more.
func CompleteDir(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}
