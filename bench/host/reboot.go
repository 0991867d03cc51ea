package host

import (
	"context"

	"vmtb/bench"
)

// Reboot asks the host's init system to reboot the host. It returns when init has accepted the
// request: the host goes down soon after.
func (h *Host) Reboot(ctx context.Context) error {
	c := bench.Command{Argv: []string{"reboot"}}
	r, err := h.Exec(ctx, c)
	if err == nil {
		err = r.Err(c)
	}
	return err
}
