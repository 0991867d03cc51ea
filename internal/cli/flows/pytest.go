package flows

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"vmtb/bench"
)

// pytestLook has flags of pytest for the output, because users of the Python tool type them. The
// help shows -v, -vv and -q instead.
type pytestLook struct {
	noCapture bool
	capture   string
	logLevel  string
	traceback string
}

func (p *pytestLook) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVarP(&p.noCapture, "no-capture", "s", false, "like -vv: vmtb captures no output")
	flags.StringVar(&p.capture, "capture", "", "like -vv, if the value is no")
	flags.StringVar(&p.logLevel, "log-cli-level", "", "like -vv, from this level on")
	flags.StringVar(&p.traceback, "tb", "", "without effect")
	for _, name := range []string{"no-capture", "capture", "log-cli-level", "tb"} {
		flags.Lookup(name).Hidden = true
	}
}

func (p *pytestLook) check() error {
	if p.logLevel != "" && new(slog.Level).UnmarshalText([]byte(pytestLevel(p.logLevel))) != nil {
		return &bench.UsageError{Err: fmt.Errorf("--log-cli-level=%s: want DEBUG, INFO, WARNING or ERROR", p.logLevel)}
	}
	return nil
}

func (p *pytestLook) verbose() int {
	if p.noCapture || p.capture == "no" || p.logLevel != "" {
		return 2
	}
	return 0
}

func (p *pytestLook) level() slog.Level {
	level := slog.LevelInfo
	if p.logLevel != "" {
		_ = level.UnmarshalText([]byte(pytestLevel(p.logLevel))) // check has parsed it
	}
	return level
}

// pytestLevel returns the slog name of a level of Python's logging.
func pytestLevel(s string) string {
	switch s = strings.ToUpper(s); s {
	case "WARNING":
		return "WARN"
	case "CRITICAL", "FATAL":
		return "ERROR"
	case "NOTSET":
		return "DEBUG"
	}
	return s
}

// pytestFlags maps flags of pytest and its plug-ins that vmtb lacks to vmtb's equivalent.
var pytestFlags = map[string]string{ //nolint:gosec // words of flags, no secret
	"pdb": "--keep-on-failure", "trace": "--keep-on-failure", "setup-plan": "--dry-run", "setup-only": "--dry-run",
	"setup-show": "-v",
	"ff":         "--last-failed", "failed-first": "--last-failed", "nf": "--last-failed",
	"sw":       "-x, and then vmtb resume",
	"stepwise": "-x, and then vmtb resume",
	"m":        "-k, which searches the words of the ids", "markers": "vmtb list --classes",
	"fixtures": "vmtb run --dry-run",
	"deselect": "-k 'not NAME'", "ignore": "-k 'not NAME'",
	"n":            "--shard=1/2 on one machine and --shard=2/2 on another",
	"numprocesses": "--shard=1/2 on one machine and --shard=2/2 on another", "dist": "--shard",
	"reruns": "--rerun-failed", "count": "--repeat", "flake-finder": "--repeat", "flake-runs": "--repeat",
	"html": "--report=html", "self-contained-html": "--report=html",
	"json-report": "--report=results", "tap-stream": "--report=ktap:-",
	"log-file":  "logfile.log in the run directory, which has everything",
	"log-level": "logfile.log in the run directory, which has everything", "log-cli": "-vv",
	"r": "the short summary, which is always printed", "ra": "the short summary, which is always printed",
	"show-capture": "-vv", "no-header": "-q", "no-summary": "-q", "p": "none: vmtb has no plug-ins", "c": "--config",
	"rootdir": "--run-dir", "basetemp": "--run-dir",
	"o": "--config", "override-ini": "--config", "debug": "-vv", "collect": "vmtb list", "timeout-method": "--timeout",
}

// PytestAdvice returns what to type instead of a flag of pytest, or "" for other flags.
func PytestAdvice(name string) string {
	if same := pytestFlags[name]; same != "" {
		return "this is a flag of pytest; in vmtb: " + same
	}
	return ""
}
