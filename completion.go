package vmtb

import (
	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/vm"
	"vmtb/bench/xe"
	"vmtb/flow"
	"vmtb/report"
)

// flagValues are the values of flags that have few, for the shell to complete.
var flagValues = map[string][]string{
	"abort-on": flow.AbortWords,
	"bind":     append([]string{bindVFIO, bindNone}, bindDrivers...),
	"firmware": {string(vm.BIOS), string(vm.UEFI)},
	"for":      {waitReady, waitEnd},
	"priority": {string(xe.Low), string(xe.Normal)},
	"profile":  {profileAuto, profileFit, profileKeep},
	"report":   report.FormatNames(),
	"sched":    modeNames(),
	"vnc":      bench.VNCModes,
}

// completeFlags has the shell complete the values of the flags of cmd and of all below it.
func completeFlags(cmd *cobra.Command) {
	for name, values := range flagValues {
		if cmd.Flags().Lookup(name) != nil {
			_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // fails for no flag, or twice
		}
	}
	for _, sub := range cmd.Commands() {
		completeFlags(sub)
	}
}
