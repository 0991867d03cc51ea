package hoststate

import (
	"fmt"
	"slices"

	"vmtb/bench"
	"vmtb/bench/keep"
)

// Living lists the machines of a store whose keeper is alive.
func Living(store keep.Store) ([]keep.Record, error) {
	records, err := store.List()
	return slices.DeleteFunc(records, func(r keep.Record) bool { return r.Life() != keep.Living }), err
}

// CheckNoVFsInMachines returns an error if a machine has VFs, because a run provisions and enables
// its own.
func (s State) CheckNoVFsInMachines() error {
	living, err := Living(s.Machines)
	if err != nil {
		return err
	}
	for _, r := range living {
		if len(r.Spec.VFs) > 0 {
			return &bench.UsageError{
				Err:    fmt.Errorf("machine %s is up and has VF %s", r.Name, r.Spec.VFs[0].Host),
				Advice: "vmtb vm off " + r.Name + " ends it",
			}
		}
	}
	return nil
}
