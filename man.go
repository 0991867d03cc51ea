package vmtb

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"vmtb/bench"
)

// manCommand writes the man pages, for those who make packages.
func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use: "man directory", Short: "Write a man page for each command", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return writeManPages(cmd.Root(), args[0]) },
	}
}

func writeManPages(root *cobra.Command, dir string) error {
	header := &doc.GenManHeader{Section: "1", Source: "vmtb " + version, Manual: "vmtb"}
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" { // reproducible-builds.org: the same commit gives the same bytes
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return &bench.UsageError{Err: fmt.Errorf("SOURCE_DATE_EPOCH=%s: want seconds since 1970", epoch)}
		}
		date := time.Unix(seconds, 0).UTC()
		header.Date = &date
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return &bench.UsageError{Err: err}
	}
	root.DisableAutoGenTag = true
	if err := doc.GenManTree(root, header, dir); err != nil {
		return &bench.InfraError{Op: "write the man pages", Err: err}
	}
	return nil
}
