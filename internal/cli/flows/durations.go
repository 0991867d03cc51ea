package flows

import (
	"errors"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vmtb/bench"
	"vmtb/flow"
)

// A DurationsValue is the value of --durations. A number is how many durations are listed, as in
// pytest. Anything else is a run directory, whose durations even out the shards.
type DurationsValue struct {
	count   pflag.Value // nil for a command that lists none
	counted bool        // count was set
	dirs    *[]string
}

// addDurations adds --durations=RUNDIR to a command. If the command has --durations=N, both work.
func addDurations(cmd *cobra.Command, dirs *[]string) {
	const usage = "a run directory `RUNDIR`: --shard makes shards of equal duration, from the times of the flows in " +
		"that run; may be given several times"
	v := &DurationsValue{dirs: dirs}
	if f := cmd.Flags().Lookup("durations"); f != nil {
		v.count, f.Value = f.Value, v
		f.Usage += "; or " + usage
		return
	}
	cmd.Flags().Var(v, "durations", usage)
}

// Set implements pflag.Value.
func (v *DurationsValue) Set(s string) error {
	if _, err := strconv.Atoi(s); err == nil && v.count != nil {
		v.counted = true
		return v.count.Set(s)
	}
	if s == "" {
		return errors.New("want a number, or the directory of a run")
	}
	*v.dirs = append(*v.dirs, s)
	return nil
}

// String implements pflag.Value.
func (v *DurationsValue) String() string {
	if v.count != nil {
		return v.count.String()
	}
	return ""
}

// Forwarded returns the values for the DUT's part of a "vmtb lab run". It omits run directories,
// which the DUT does not have.
func (v *DurationsValue) Forwarded() []string {
	if !v.counted {
		return nil
	}
	return []string{v.count.String()}
}

// Type implements pflag.Value.
func (v *DurationsValue) Type() string { return "RUNDIR" }

// takeShard returns the shard of items that the flags select.
func (f *SelectionFlags) takeShard(items []flow.Item) ([]flow.Item, error) {
	if f.Shard == "" {
		if len(f.Durations) > 0 {
			return nil, &bench.UsageError{
				Err: errors.New("--durations=RUNDIR is for --shard"), Advice: "add --shard=i/n",
			}
		}
		return items, nil
	}
	s, err := flow.ParseShard(f.Shard)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, dir := range f.Durations {
		dirs = append(dirs, RunDirIn(dir))
	}
	d, err := flow.ReadDurations(dirs...)
	if err != nil {
		return nil, err
	}
	return s.TakeBy(d, items), nil
}
