package vmtb

import (
	"context"
	"errors"
	"io/fs"
	"path"

	"vmtb/bench"
)

// checkGuest boots the guest image, without a VF, and looks for what flows need in it.
func checkGuest(ctx context.Context, p *patient) diagnosis {
	if !p.deep {
		return skip("not looked into; --deep boots the image")
	}
	inside := &guestCheck{patient: p}
	defer inside.end(context.WithoutCancel(ctx))
	for _, look := range []func(context.Context, *patient) diagnosis{inside.disk, inside.boot, inside.driver, inside.igt} {
		if d := look(ctx, p); d.Health != healthy {
			return d
		}
	}
	return fine("boots, agent, driver %s and IGT inside", p.config.Guest.Driver)
}

// executable reports whether a machine has a program.
func executable(ctx context.Context, m bench.Machine, file string) (bool, error) {
	entries, err := m.ReadDir(ctx, path.Dir(file))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	for _, e := range entries {
		if e.Name == path.Base(file) {
			return true, nil
		}
	}
	return false, err
}
