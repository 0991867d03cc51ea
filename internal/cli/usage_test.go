package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vmtb/internal/cli/env"
)

// The error for a bad flag of any command is vmtb's own, not that of the flag parser or of strconv.
func TestFlagErrors(t *testing.T) {
	var look func(cmd *cobra.Command)
	look = func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			for _, value := range []string{"x,y", `"`, "99999999999999999999"} {
				err := cmd.ParseFlags([]string{"--" + f.Name + "=" + value})
				if err == nil {
					continue
				}
				said := flagError(cmd, err).Error()
				for _, raw := range []string{"strconv", "parse error", "invalid argument", "parsing"} {
					if strings.Contains(said, raw) {
						t.Errorf("%s: %s", cmd.CommandPath(), said)
					}
				}
			}
		})
		for _, sub := range cmd.Commands() {
			look(sub)
		}
	}
	look(command(&env.Env{}))
}
