package cli

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vmtb/bench"
	"vmtb/bench/host"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/flows"
	"vmtb/internal/hoststate"
)

// manCommand returns the command that writes the man pages, for packagers.
func manCommand(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use: "man directory", Short: "Write a man page for each command", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return writeManPages(cmd.Root(), args[0], e.Version) },
	}
}

func writeManPages(root *cobra.Command, dir, version string) error {
	date := time.Now()
	// reproducible-builds.org: the same commit gives the same bytes
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return &bench.UsageError{Err: fmt.Errorf("SOURCE_DATE_EPOCH=%s: want seconds since 1970", epoch)}
		}
		date = time.Unix(seconds, 0)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return &bench.UsageError{Err: err}
	}
	root.InitDefaultVersionFlag()
	for _, cmd := range manned(root) {
		file := filepath.Join(dir, manName(cmd)+".1")
		if err := os.WriteFile(
			file, []byte(manPage(cmd, date.UTC().Format("2006-01-02"), version)), 0o644,
		); err != nil {
			return &bench.InfraError{Op: "write the man pages", Err: err}
		}
	}
	return nil
}

// manned returns cmd and the commands below it that have a page.
func manned(cmd *cobra.Command) []*cobra.Command {
	list := []*cobra.Command{cmd}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			list = append(list, manned(sub)...)
		}
	}
	return list
}

// manName returns the name of a command's page: "vmtb-vm-start".
func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manPage returns the page of a command, for man(7).
func manPage(cmd *cobra.Command, date, version string) string {
	cmd.InitDefaultHelpFlag()
	p := &roff{}
	p.raw(fmt.Sprintf(".TH %q 1 %q %q %q", strings.ToUpper(manName(cmd)), date, "vmtb "+version, "vmtb"))
	p.section("NAME", manName(cmd)+" - "+cmd.Short)
	p.section("SYNOPSIS")
	p.raw(`\fB` + roffText(cmd.CommandPath()) + `\fR` + roffText(strings.TrimPrefix(cmd.UseLine(), cmd.CommandPath())))
	p.section("DESCRIPTION", strings.Split(cmp.Or(cmd.Long, cmd.Short+"."), "\n\n")...)
	if subs := manned(cmd)[1:]; len(subs) > 0 {
		p.section("COMMANDS")
		for _, sub := range subs {
			if sub.Parent() == cmd {
				p.item(manName(sub)+"(1)", sub.Short)
			}
		}
	}
	p.options(cmd)
	if cmd.Example != "" {
		p.section("EXAMPLES")
		p.raw(".nf\n" + roffText(cmd.Example) + "\n.fi")
	}
	p.section("EXIT STATUS")
	for _, s := range exitStatus(cmd) {
		p.item(s.name, s.text)
	}
	p.section("ENVIRONMENT")
	for _, s := range environmentVariables {
		p.item(s.name, s.text)
	}
	p.section("FILES")
	for _, s := range files {
		p.item(s.name, s.text)
	}
	p.section("SEE ALSO", seeAlso(cmd))
	return p.String()
}

func seeAlso(cmd *cobra.Command) string {
	var pages []string
	if parent := cmd.Parent(); parent != nil {
		pages = append(pages, manName(parent)+"(1)")
		for _, c := range parent.Commands() {
			if c.IsAvailableCommand() && c != cmd {
				pages = append(pages, manName(c)+"(1)")
			}
		}
	}
	return strings.Join(append(pages, `"vmtb help" for the book, which is in the program`), ", ")
}

// A named is an entry of a list in a man page.
type named struct{ name, text string }

// runStatus has the exit codes of flows, as docs/exit-codes.md explains them.
var runStatus = []named{
	{"0", "Every flow passed or was skipped."},
	{"1", "A flow failed or missed its deadline, or a kernel logged a failure."},
	{"2", "A flag, the selection or the configuration is wrong. Nothing ran."},
	{"3", "No flow failed, but a fixture or the test bench did."},
	{"4", "The selection matches nothing. Nothing ran."},
	{"5", "The run ended itself: its deadline, a full disk, --abort-on."},
	{"6", "The host could not be restored."},
	{"130", "The user interrupted the command."},
}

var otherStatus = []named{
	{"0", "The command succeeded."},
	{"2", "A flag or an argument is wrong. Nothing was done."},
	{"3", "The command failed. The message says why."},
	{"130", "The user interrupted the command."},
}

func exitStatus(cmd *cobra.Command) []named {
	switch manName(cmd) {
	case "vmtb", "vmtb-run", "vmtb-resume", "vmtb-lab-run":
		return runStatus
	case "vmtb-recover", "vmtb-vf-disable":
		return append(slices.Clone(otherStatus[:3]), named{"6", "A change could not be undone."}, otherStatus[3])
	case "vmtb-list":
		return append(slices.Clone(otherStatus[:3]), named{"4", "The selection matches nothing."}, otherStatus[3])
	case "vmtb-doctor", "vmtb-image-check":
		return append(
			[]named{{"0", "No check is bad."}, {"3", "A check is bad; see the lines that begin so."}}, otherStatus[1],
			otherStatus[3],
		)
	case "vmtb-vm-exec", "vmtb-vm-shell", "vmtb-lab-exec":
		return []named{
			{
				"N",
				"The exit code of the command, or 128 + N if signal N ended it; an error of vmtb itself " +
					"is 2 or 3. See \"vmtb help vm\".",
			},
		}
	}
	return otherStatus
}

var environmentVariables = []named{
	{"NO_COLOR", "If it is set, there are no colours (https://no-color.org)."},
	{"TERM", "If it is \"dumb\", vmtb does not draw a status line."},
	{"TMPDIR", "The directory for temporary files; /tmp by default."},
	{
		"VMTB_DEBIAN_MIRROR",
		"The mirror from which \"vmtb lab\" and \"vmtb image build\" take packages, instead of this machine's own.",
	},
	{"VMTB_STATE_DIR", "The directory to use instead of /var/lib/vmtb, and instead of /run/lock for the lock."},
	{"XDG_CACHE_HOME", "Where the lab's images are, in vmtb/lab; ~/.cache by default."},
}

var files = []named{
	{
		env.ConfigName,
		"The configuration, in the working directory or beside the program. \"vmtb help configuration\" lists its " +
			"keys.",
	},
	{
		flows.ResultsDir + "/",
		"Run directories, named by their start time. \"vmtb help run-directory\" describes them.",
	},
	{
		hoststate.Dir + "/",
		"State that outlives a command: notes of runs that have changed the host, machines of \"vmtb vm\".",
	},
	{host.LockFile, "Held by the run that uses the host."},
	{"~/.cache/vmtb/lab/", "The lab's images."},
}

// A roff is a page for man(7) under construction.
type roff struct{ strings.Builder }

func (p *roff) raw(s string) { p.WriteString(s + "\n") }

func (p *roff) section(title string, paragraphs ...string) {
	p.raw(".SH " + title)
	for i, text := range paragraphs {
		if i > 0 {
			p.raw(".PP")
		}
		// A list keeps its lines.
		if strings.HasPrefix(text, "  ") || strings.Contains(text, "\n  ") {
			text = ".nf\n" + roffText(text) + "\n.fi"
		} else {
			text = roffText(text)
		}
		p.raw(text)
	}
}

func (p *roff) item(name, text string) {
	p.raw(".TP\n\\fB" + roffText(name) + "\\fR\n" + roffText(text))
}

func (p *roff) options(cmd *cobra.Command) {
	p.section("OPTIONS")
	add := func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		name := `\fB` + roffText("--"+f.Name) + `\fR`
		if f.Shorthand != "" {
			name = `\fB` + roffText("-"+f.Shorthand) + `\fR, ` + name
		}
		if value != "" && f.Value.Type() != "count" {
			name += "=" + `\fI` + roffText(strings.Trim(value, "[=]")) + `\fR`
		}
		if normal := f.DefValue; !slices.Contains([]string{"", "0", "0s", "false", "[]", "-1"}, normal) {
			usage += " (default: " + normal + ")"
		}
		p.raw(".TP\n" + name + "\n" + roffText(usage))
	}
	cmd.NonInheritedFlags().VisitAll(add)
	cmd.InheritedFlags().VisitAll(add)
}

// roffText escapes s so that man prints it unchanged. Backslashes and hyphens have meanings, and so
// have dots and quotes at the beginning of a line.
func roffText(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
