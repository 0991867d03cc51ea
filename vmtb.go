package vmtb

import (
	"context"

	"vmtb/flow"
	"vmtb/internal/cli"
)

// version is set by the linker: -X vmtb.version=... (see the Makefile).
var version = "unknown"

// Main runs the command line in args, program name first, with the flows that the registrars add,
// and returns the exit code.
func Main(ctx context.Context, args []string, registrars ...func(*flow.Registry)) int {
	return cli.Main(ctx, args, version, registrars...)
}
