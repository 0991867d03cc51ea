package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"vmtb/bench"
	"vmtb/internal/cli/env"
	"vmtb/lab"
)

// shapeArgs are the flags that suit a run to the lab, unless the user says otherwise.
func (o *runOptions) shapeArgs(c *bench.Config) []string {
	memory := lab.GuestMiB
	if usual := bench.DefaultConfig(); o.Given("vm-memory") || c.VM.MemoryMiB != usual.VM.MemoryMiB {
		memory = c.VM.MemoryMiB
	}
	decimal := func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
	args := []string{"--vm-memory", strconv.Itoa(memory), "--timeout-scale", decimal(c.TimeoutScale)}
	if o.WorkloadScale != 0 {
		args = append(args, "--workload-scale", decimal(o.WorkloadScale))
	}
	return args
}

// lookArgs are the flags by which the report in the DUT, which goes to a file, looks as it would here.
func (o *runOptions) lookArgs(e *env.Env) []string {
	var args []string
	if f, ok := e.Out.(*os.File); ok { // what reads along may be a terminal
		look := o.Look(f)
		color := "never"
		if look.Color {
			color = "always"
		}
		args = append(args, "--color="+color)
		if look.Live {
			args = append(args, fmt.Sprintf("--live=%d", look.Width()))
		}
	}
	if argv, err := json.Marshal(os.Args); err == nil { // strings have a JSON form
		args = append(args, "--called-as="+string(argv))
	}
	args = append(args, fmt.Sprintf("--verbose=%d", o.Verbosity()), fmt.Sprintf("--durations=%d", o.Slowest), fmt.Sprintf("--quiet=%v", o.Quiet))
	if o.LogLevel() != "" {
		args = append(args, "--log-cli-level="+o.LogLevel())
	}
	if o.JSON {
		args = append(args, "--json")
	}
	return args
}

// fileArgs gives the DUT the files that flags name, and are the flags that name them there.
func (o *runOptions) fileArgs(dir string, c *bench.Config) ([]string, error) {
	var args []string
	config, err := give(dir, env.ConfigName, o.File)
	if err == nil && config != "" {
		args = append(args, "--config", config)
		err = giveDirs(dir, filepath.Dir(o.File), c.Resources.VGPUProfilesPath, c.Resources.WsimPath)
	}
	if err != nil {
		return nil, err
	}
	quarantine, err := give(dir, "quarantine.json", o.Quarantine)
	if err != nil {
		return nil, err
	}
	args = append(args, o.Args(quarantine)...)
	if o.Timeout > 0 {
		args = append(args, "--timeout", o.Timeout.String())
	}
	if o.Keyword != "" {
		args = append(args, "--keyword", o.Keyword)
	}
	if o.Shard != "" && o.FailedIn() == "" {
		args = append(args, "--shard", o.Shard)
	}
	rules, err := give(dir, "kernel-log-rules.json", o.Rules)
	if err == nil && rules != "" {
		args = append(args, "--kernel-log-rules", rules)
	}
	return args, err
}

// give copies a file into the directory that the DUT sees; "" is none.
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

// giveDirs copies directories that a configuration in base names into the directory that the DUT sees, where they are to that
// configuration what they were. Those that are not there are not missed.
func giveDirs(dir, base string, dirs ...string) error {
	for _, from := range dirs {
		if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		rel, err := filepath.Rel(base, from)
		if err != nil || !filepath.IsLocal(rel) {
			return &bench.UsageError{Err: fmt.Errorf("%s is not below %s, the directory of the configuration", from, base), Advice: "the lab takes along only what is"}
		}
		if err := os.CopyFS(filepath.Join(dir, rel), os.DirFS(from)); err != nil && !errors.Is(err, fs.ErrExist) {
			return &bench.InfraError{Op: "give the DUT " + from, Err: err}
		}
	}
	return nil
}
