package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"vmtb/bench"
	"vmtb/docs"
	"vmtb/internal/booktext"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/output"
)

// A topic is a chapter of the book, for "vmtb help".
type topic struct {
	name  string // of its file
	title string
	text  string // Markdown
}

// topics returns the chapters in the order of docs/README.md.
func topics() []topic {
	contents := chapter("README")
	var list []topic
	entries, _ := docs.Files.ReadDir(".") // it cannot fail: the book is embedded
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".md")
		if name != "README" {
			text := chapter(name)
			list = append(list, topic{name, booktext.Title(text), text})
		}
	}
	place := func(t topic) int { return strings.Index(contents, "("+t.name+".md)") }
	slices.SortStableFunc(list, func(a, b topic) int { return place(a) - place(b) })
	return list
}

func chapter(name string) string {
	text, _ := docs.Files.ReadFile(name + ".md") // it cannot fail: the book is embedded
	return string(text)
}

func helpCommand(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "help [command or topic]",
		Short: "Show the help of a command, or a chapter of the book",
		Long: `Shows the help of a command or a chapter of the book; if both have the name, first the help and then
the chapter. Without a name it lists the commands and the topics.`,
		Example: `  vmtb help vm start
  vmtb help troubleshooting | less`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeHelp,
		RunE:              func(cmd *cobra.Command, args []string) error { return help(e, cmd.Root(), args) },
	}
}

func help(e *env.Env, root *cobra.Command, args []string) error {
	if len(args) == 0 {
		if err := root.Help(); err != nil {
			return err
		}
		listTopics(e)
		return nil
	}
	all := topics()
	chapterAt := slices.IndexFunc(all, func(t topic) bool {
		return len(args) == 1 && strings.EqualFold(t.name, strings.TrimSuffix(args[0], ".md"))
	})
	cmd, rest, err := root.Find(args)
	found := err == nil && len(rest) == 0 && cmd != root && cmd.Name() != ""
	if !found && chapterAt < 0 {
		return unknownTopic(root, all, strings.Join(args, " "))
	}
	if found {
		cmd.InitDefaultHelpFlag()
		if err := cmd.Help(); err != nil || chapterAt < 0 {
			return err
		}
		fmt.Fprintf(e.Out, "\n%s\n\n", strings.Repeat("_", min(columns(e), 72)))
	}
	_, err = io.WriteString(e.Out, booktext.Render(all[chapterAt].text, columns(e)))
	return err
}

func listTopics(e *env.Env) {
	fmt.Fprint(e.Out, "\nTopics: the chapters of the book (vmtb help TOPIC):\n")
	for _, t := range topics() {
		fmt.Fprintf(e.Out, "  %-18s %s\n", t.name, t.title)
	}
}

func unknownTopic(root *cobra.Command, all []topic, asked string) error {
	var names []string
	for _, t := range all {
		names = append(names, t.name)
	}
	names = append(names, commandNames(root)...)
	advice := `"vmtb help" lists the commands and the topics`
	if near := nearestNames(asked, names); len(near) > 0 {
		advice = "did you mean " + strings.Join(near, " or ") + "? " + advice
	}
	return &bench.UsageError{Err: fmt.Errorf("there is no command and no topic %q", asked), Advice: advice}
}

// columns returns the width of the terminal, at most 100. It returns 80 if the output is no
// terminal.
func columns(e *env.Env) int {
	if f, ok := e.Out.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return min(w, 100)
		}
	}
	return 80
}

func completeHelp(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	at, rest, err := cmd.Root().Find(args)
	if err != nil || len(rest) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := commandNames(at)
	if len(args) == 0 {
		for _, t := range topics() {
			names = append(names, t.name+"\t"+t.title)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func versionCommand(e *env.Env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return output.Print(e.Out, output.Program{Version: e.Version, JSON: output.Version})
			}
			_, err := fmt.Fprintf(e.Out, "vmtb %s\n", e.Version)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object, with the version of the JSON that all commands print")
	return cmd
}
