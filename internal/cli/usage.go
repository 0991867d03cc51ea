package cli

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/internal/cli/flows"
)

// markUsage replaces cobra's errors about arguments, and suggests commands for unknown ones.
func markUsage(cmd *cobra.Command) {
	if !cmd.Runnable() { // a family of commands
		cmd.Args, cmd.RunE = cobra.NoArgs, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return argumentError(cmd, args)
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		markUsage(sub)
	}
}

// commandFirst moves flags before the command to after it: "vmtb -v run --help". Cobra takes the
// word after an unknown flag for the value of the flag, and would not see the command.
func commandFirst(root *cobra.Command, args []string) []string {
	// The last word is still being typed.
	if len(args) > 1 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		last := len(args) - 1
		return slices.Concat(args[:1], commandFirst(root, args[1:last]), args[last:])
	}
	at := slices.IndexFunc(args, func(arg string) bool { return !strings.HasPrefix(arg, "-") || arg == "--" })
	cmd, end := root, at
	for end >= 0 && end < len(args) {
		sub := subCommand(cmd, args[end])
		if sub == nil {
			break
		}
		cmd, end = sub, end+1
	}
	if at <= 0 {
		return args
	}
	return slices.Concat(args[at:end], args[:at], args[end:])
}

func subCommand(cmd *cobra.Command, name string) *cobra.Command {
	for _, sub := range cmd.Commands() {
		if sub.Name() == name || sub.HasAlias(name) {
			return sub
		}
	}
	return nil
}

// argumentError returns the error for wrong arguments. It says which arguments the command takes.
func argumentError(cmd *cobra.Command, args []string) error {
	advice := fmt.Sprintf("see %s --help", cmd.CommandPath())
	if cmd.HasAvailableSubCommands() && len(args) > 0 {
		if near := nearCommands(cmd, args[0]); len(near) > 0 {
			advice = fmt.Sprintf("did you mean %s? %s", strings.Join(near, " or "), advice)
		}
		return &bench.UsageError{
			Err: fmt.Errorf("unknown command %q of %s", args[0], cmd.CommandPath()), Advice: advice,
		}
	}
	_, wants, _ := strings.Cut(cmd.Use, " ")
	var err error
	switch {
	case wants == "":
		err = fmt.Errorf("%s takes no arguments, but got %q", cmd.CommandPath(), args[0])
		if f := cmd.Flags().Lookup("output"); f != nil {
			advice = fmt.Sprintf("--output=%s names a file; %s", args[0], advice)
		}
	case len(args) == 0:
		err = fmt.Errorf("%s needs arguments: %s %s", cmd.CommandPath(), cmd.CommandPath(), wants)
	default:
		err = fmt.Errorf("wrong number of arguments (%d), want: %s %s", len(args), cmd.CommandPath(), wants)
	}
	return &bench.UsageError{Err: err, Advice: advice}
}

// otherWords maps commands of other tools to vmtb's equivalents.
var otherWords = map[string][]string{
	"boot": {"start"}, "create": {"start", "build"}, "delete": {"rm", "off"}, "destroy": {"kill"}, "down": {"off"},
	"launch": {"start"},
	"log":    {"logs"}, "ls": {"list"}, "poweroff": {"off"}, "ps": {"list"}, "restart": {"reboot"}, "show": {"list"},
	"shutdown": {"off"},
	"start":    {"run"}, "status": {"list"}, "stop": {"off", "pause"}, "test": {"run"}, "tests": {"list"},
	"up":      {"start"},
	"check":   {"doctor"},
	"unpause": {"resume"}, "undo": {"recover"}, "cleanup": {"recover"}, "man": {"help"}, "docs": {"help"},
}

// nearCommands returns the commands below cmd that a user may have meant.
func nearCommands(cmd *cobra.Command, word string) []string {
	names := commandNames(cmd)
	var near []string
	for _, name := range otherWords[word] {
		if slices.Contains(names, name) {
			near = append(near, name)
		}
	}
	if len(near) > 0 {
		return near
	}
	return nearestNames(word, names)
}

func commandNames(cmd *cobra.Command) []string {
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return names
}

// nearestNames returns at most three names that are similar to s.
func nearestNames(s string, names []string) []string {
	near := flow.Nearest(s, names, 3)
	for _, name := range names {
		if len(near) < 3 && len(s) > 1 && strings.HasPrefix(name, s) && !slices.Contains(near, name) {
			near = append(near, name)
		}
	}
	return near
}

// flagError returns the error for a wrong flag, in our words instead of pflag's.
func flagError(cmd *cobra.Command, err error) error {
	advice := fmt.Sprintf("see %s --help", cmd.CommandPath())
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		name := e.GetSpecifiedName()
		if shorts := e.GetSpecifiedShortnames(); shorts != "" {
			return &bench.UsageError{
				Err: fmt.Errorf("unknown flag: -%s", name), Advice: cmp.Or(flows.PytestAdvice(name), advice),
			}
		}
		if hint := flows.PytestAdvice(name); hint != "" {
			advice = hint
		} else if near := nearFlags(cmd, name); len(near) > 0 {
			advice = fmt.Sprintf("did you mean %s? %s", strings.Join(near, " or "), advice)
		}
		return &bench.UsageError{Err: fmt.Errorf("unknown flag: --%s", name), Advice: advice}
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return &bench.UsageError{
			Err: fmt.Errorf("%s needs a value", dashed(e.GetFlag(), e.GetSpecifiedName())), Advice: advice,
		}
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		f := e.GetFlag()
		want := wantedValues[f.Value.Type()]
		if want == "" {
			want = e.Unwrap().Error()
		}
		return &bench.UsageError{Err: fmt.Errorf("--%s=%s: %s", f.Name, e.GetValue(), want), Advice: advice}
	}
	return &bench.UsageError{Err: err, Advice: advice}
}

func dashed(f *pflag.Flag, name string) string {
	if f != nil && f.Shorthand == name && name != "" {
		return "-" + name
	}
	return "--" + name
}

// wantedValues maps types of flags to descriptions of their values.
var wantedValues = map[string]string{
	"bool":     "want true or false",
	"count":    "want a whole number",
	"duration": "want a duration, like 90s, 5m or 1h30m",
	"float64":  "want a number, like 2 or 0.5",
	"int":      "want a whole number",
	"intSlice": "want whole numbers, separated by commas",

	"stringSlice": "want words, separated by commas; put quotation marks around a word that contains one",
}

func nearFlags(cmd *cobra.Command, name string) []string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	var near []string
	for _, n := range nearestNames(name, names) {
		near = append(near, "--"+n)
	}
	return near
}
