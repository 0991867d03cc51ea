package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/spf13/pflag"

	"vmtb/bench"
	"vmtb/internal/cli/env"
	"vmtb/internal/cli/flows"
	"vmtb/lab"
	"vmtb/report/terminal"
)

// A treatment says how "vmtb lab run" treats a flag of "vmtb run". The run in the DUT is a "vmtb
// run".
type treatment int

const (
	// The run in the DUT gets the flag unchanged; also flags that flagTreatments does not list.
	forwarded treatment = iota
	// The run in the DUT gets another value, from shapeArgs, lookArgs or fileArgs.
	replaced
	handled // this command does it on this machine
	absent  // "vmtb lab run" does not have it
	labOnly // only "vmtb lab run" has it
)

// flagTreatments lists every flag of "vmtb run" and of "vmtb lab run". A test compares.
var flagTreatments = map[string]treatment{
	"abort-on": forwarded, "capture": forwarded, "durations": forwarded, "exitfirst": forwarded, "json": forwarded,
	"keyword": forwarded, "log-cli-level": forwarded, "maxfail": forwarded, "no-capture": forwarded, "quiet": forwarded,
	"repeat": forwarded, "rerun-failed": forwarded, "tb": forwarded, "timeout": forwarded, "verbose": forwarded,
	"warm": forwarded, "workload-scale": forwarded,

	"called-as": replaced, "color": replaced, "config": replaced, "kernel-log-rules": replaced, "live": replaced,
	"quarantine": replaced, "run-dir": replaced, "shard": replaced, "timeout-scale": replaced, "vm-image": replaced,
	"vm-memory": replaced,

	"co": handled, "collect-only": handled, "compare": handled, "dry-run": handled, "failed-in": handled,
	"guest-cmdline": handled, "guest-kernel": handled, "help": handled, "junit-xml": handled,
	"junitxml": handled, "last-failed": handled, "lf": handled, "report": handled,

	"card": absent, "destructive": absent, "firmware": absent, "keep-on-failure": absent, "recover": absent,
	"vgpu-profiles": absent, "vnc": absent,

	"cmdline": labOnly, "gpu": labOnly, "gpu-property": labOnly, "guest-module": labOnly, "guest-patch": labOnly,
	"kernel": labOnly, "migration": labOnly, "module": labOnly, "module-param": labOnly, "package": labOnly,
	"patch": labOnly,
}

// forwardArgs returns the flags on the command line that the run in the DUT gets unchanged. It never
// gets the flags in own, which belong to the command on this machine.
func forwardArgs(flags *pflag.FlagSet, own ...string) []string {
	var args []string
	flags.Visit(func(f *pflag.Flag) {
		if flagTreatments[f.Name] != forwarded || slices.Contains(own, f.Name) {
			return
		}
		values := []string{f.Value.String()}
		switch v := f.Value.(type) {
		case pflag.SliceValue:
			values = v.GetSlice()
		case *flows.DurationsValue:
			values = v.Forwarded()
		}
		for _, v := range values {
			args = append(args, "--"+f.Name+"="+v)
		}
	})
	return args
}

// shapeArgs returns the flags that adapt a run to the lab, unless the user gave others.
func (o *runOptions) shapeArgs(c *bench.Config) []string {
	memory := lab.GuestMiB
	if usual := bench.DefaultConfig(); o.Given("vm-memory") || c.VM.MemoryMiB != usual.VM.MemoryMiB {
		memory = c.VM.MemoryMiB
	}
	scale := strconv.FormatFloat(c.TimeoutScale, 'g', -1, 64)
	args := []string{"--vm-image", lab.GuestImage, "--vm-memory", strconv.Itoa(memory), "--timeout-scale", scale}
	// Otherwise the shard is taken already, and the selection is a list of ids.
	if o.Shard != "" && !o.selectedHere() {
		args = append(args, "--shard", o.Shard)
	}
	return args
}

// selectedHere reports whether the flows are selected on this machine, because that needs run
// directories that the DUT does not have.
func (o *runOptions) selectedHere() bool { return o.FailedIn() != "" || len(o.Durations) > 0 }

// lookArgs returns flags for the report in the DUT. It goes to a file, but looks as on this
// terminal.
func lookArgs(e *env.Env, look func(*os.File) terminal.Options) []string {
	var args []string
	if f, ok := e.Out.(*os.File); ok { // it may be a terminal
		look := look(f)
		color := "never"
		if look.Color {
			color = "always"
		}
		args = append(args, "--color="+color)
		if look.Live {
			args = append(args, fmt.Sprintf("--live=%d", look.Width()))
		}
	}
	if argv, err := json.Marshal(os.Args); err == nil { // strings can always be marshalled
		args = append(args, "--called-as="+string(argv))
	}
	return args
}

// fileArgs copies the files that flags name into dir, which the DUT sees, and returns flags that
// name the copies.
func (o *runOptions) fileArgs(dir string, c *bench.Config) ([]string, error) {
	var args []string
	for _, f := range []struct{ flag, name, from string }{
		{"--config", env.ConfigName, o.File},
		{"--quarantine", "quarantine.json", o.Quarantine},
		{"--kernel-log-rules", "kernel-log-rules.json", o.Rules},
	} {
		copied, err := give(dir, f.name, f.from)
		if err != nil {
			return nil, err
		}
		if copied != "" {
			args = append(args, f.flag, copied)
		}
	}
	if o.File == "" {
		return args, nil
	}
	return args, giveDirs(dir, filepath.Dir(o.File), c.Resources.VGPUProfilesPath, c.Resources.WsimPath)
}

// give copies the file from into dir, which the DUT sees, under a name. If from is "", it copies
// nothing and returns "".
func give(dir, name, from string) (copied string, err error) {
	if from == "" {
		return "", nil
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return "", &bench.UsageError{Err: err}
	}
	copied = filepath.Join(dir, name)
	if err := os.WriteFile(copied, data, 0o644); err != nil {
		return "", &bench.InfraError{Op: "give the DUT " + from, Err: err}
	}
	return copied, nil
}

// giveDirs copies directories that a configuration in base names into dir, which the DUT sees. They
// keep their paths relative to the configuration. Missing directories are skipped.
func giveDirs(dir, base string, dirs ...string) error {
	for _, from := range dirs {
		if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		rel, err := filepath.Rel(base, from)
		if err != nil || !filepath.IsLocal(rel) {
			return &bench.UsageError{
				Err:    fmt.Errorf("%s is not below %s, the directory of the configuration", from, base),
				Advice: "move it there: the lab gets only directories below the configuration's",
			}
		}
		if err := os.CopyFS(filepath.Join(dir, rel), os.DirFS(from)); err != nil && !errors.Is(err, fs.ErrExist) {
			return &bench.InfraError{Op: "give the DUT " + from, Err: err}
		}
	}
	return nil
}
