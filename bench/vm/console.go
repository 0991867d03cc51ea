package vm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"vmtb/bench"
)

// ErrAttached is the refusal of a second connection to a console.
var ErrAttached = errors.New("another client is attached to the console")

// attachTime is what QEMU gets to see that a client has come or gone.
const attachTime = 2 * time.Second

// Console attaches to the machine's serial console, the one that console.log has whole, attached to
// or not: what the guest writes from now on can be read, what is written the guest reads. Closing
// the connection detaches; then the next one may attach. There is one at a time: a second gets an
// error matching [ErrAttached]. The guest does not wait for anybody to attach; but for one who is
// attached and does not read, it waits as soon as the socket is full.
func (u *UserAccess) Console(ctx context.Context) (net.Conn, error) {
	u.console.Lock()
	defer u.console.Unlock()
	ctx, cancel := u.life.bind(ctx)
	defer cancel()
	if err := u.awaitConsole(ctx, false); err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", u.sockets.path(ConsoleSocket))
	if err != nil {
		return nil, u.life.explain("attach to the console", err)
	}
	if err := u.awaitConsole(ctx, true); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// awaitConsole waits until the console has a client, or has none. QEMU has no event for it, so it
// is asked.
func (u *UserAccess) awaitConsole(ctx context.Context, want bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, u.life.scaled(attachTime), ErrAttached)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		attached, err := u.attached(ctx)
		if attached == want && err == nil {
			return nil
		}
		if err == nil {
			select {
			case <-tick.C:
				continue
			case <-ctx.Done():
				err = context.Cause(ctx)
			}
		}
		if errors.Is(context.Cause(ctx), ErrAttached) && !u.life.over() {
			return &bench.UsageError{
				Err:    fmt.Errorf("%s: attach to the console: %w", u.life, ErrAttached),
				Advice: "only one client can be attached: the other one must detach first",
			}
		}
		return u.life.explain("attach to the console", err)
	}
}

// attached asks QEMU whether the console's socket has a client. That shows in "filename":
// "disconnected:unix:PATH,server=on" without one, "unix:PATH,server=on <-> ..." with one
// (qemu_chr_socket_address and its callers in chardev/char-socket.c).
func (u *UserAccess) attached(ctx context.Context) (bool, error) {
	var chardevs []struct{ Label, Filename string }
	if err := u.qmp.Execute(ctx, "query-chardev", nil, &chardevs); err != nil {
		return false, err
	}
	for _, c := range chardevs {
		if c.Label == ConsoleSocket {
			return !strings.HasPrefix(c.Filename, "disconnected:"), nil
		}
	}
	return false, fmt.Errorf("query-chardev: no %q in %+v", ConsoleSocket, chardevs)
}
