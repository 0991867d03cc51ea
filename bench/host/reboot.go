package host

import (
	"context"

	"vmtb/bench"
)

// Reboot asks the host's init system to reboot it, and returns when that was taken note of: the
// host goes down soon after.
func (h *Host) Reboot(ctx context.Context) error {
	c := bench.Command{Argv: []string{"reboot"}}
	r, err := h.Exec(ctx, c)
	if err == nil {
		err = r.Err(c)
	}
	return err
}
