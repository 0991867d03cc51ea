package cli

import (
	"bytes"
	_ "embed"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"vmtb/bench/vm"
	"vmtb/internal/cli/env"
)

// flagFiles maps flags that take a file to the extensions of its name.
var flagFiles = map[string][]string{
	"config":           env.ConfigExts,
	"kernel-log-rules": env.ConfigExts,
	"quarantine":       env.ConfigExts,
	"output":           env.ImageExts,
	"vm-image":         env.ImageExts,
}

// flagDirs are flags that take a directory.
var flagDirs = []string{"durations", "extra", "failed-in", "last-failed", "run-dir", "vgpu-profiles"}

// completeFlags has the shell complete the values of the flags of cmd and of all below it.
func completeFlags(cmd *cobra.Command) {
	if cmd.Flags().Lookup("firmware") != nil { // it also takes a file
		words := []string{string(vm.BIOS), string(vm.UEFI)}
		_ = cmd.RegisterFlagCompletionFunc("firmware", cobra.FixedCompletions(words, cobra.ShellCompDirectiveDefault))
	}
	for name, exts := range flagFiles {
		_ = cmd.MarkFlagFilename(name, exts...) // it fails only if there is no such flag
	}
	for _, name := range flagDirs {
		_ = cmd.MarkFlagDirname(name) // it fails only if there is no such flag
	}
	for _, sub := range cmd.Commands() {
		completeFlags(sub)
	}
}

// bashQuotes has the functions that bashScript adds to cobra's script.
//
//go:embed completion.bash
var bashQuotes string

// bashHooks are the places in cobra's script where the script calls functions of bashQuotes.
var bashHooks = []struct{ old, new string }{
	{"    local out directive\n    __vmtb_get", "    local out directive flag=''\n    __vmtb_begin\n    __vmtb_get"},
	{"    __vmtb_process_completion_results\n}", "    __vmtb_process_completion_results\n    __vmtb_end\n}"},
	{
		"        __vmtb_handle_completion_types\n    fi",
		"        __vmtb_handle_quoted || { __vmtb_handle_completion_types; __vmtb_escape_common; }\n    fi",
	},
}

// bashScript returns cobra's completion for bash, extended to complete words with an open quote.
func bashScript(root *cobra.Command, descriptions bool) (string, error) {
	var b bytes.Buffer
	if err := root.GenBashCompletionV2(&b, descriptions); err != nil {
		return "", err
	}
	script := b.String()
	for _, h := range bashHooks {
		if strings.Count(script, h.old) != 1 {
			return "", fmt.Errorf("cobra's completion for bash is not as bashHooks has it: %q", h.old)
		}
		script = strings.Replace(script, h.old, h.new, 1)
	}
	return bashQuotes + "\n" + script, nil
}

// completeQuotes makes "vmtb completion bash" print bashScript.
func completeQuotes(root *cobra.Command) {
	cmd, _, err := root.Find([]string{"completion", "bash"})
	if err != nil {
		return // cobra has no completion command
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		plain, err := cmd.Flags().GetBool("no-descriptions")
		if err != nil {
			return err
		}
		script, err := bashScript(cmd.Root(), !plain)
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(cmd.OutOrStdout(), script)
		return err
	}
}
