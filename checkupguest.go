package vmtb

import "context"

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
