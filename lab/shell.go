package lab

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"

	"golang.org/x/term"
)

// escape is Ctrl-], which ends a shell, as in telnet.
const escape = 0x1d

// Shell connects a terminal to the shell on the DUT's second serial port, until the user types Ctrl-] or the DUT ends.
func (d *DUT) Shell(ctx context.Context, in *os.File, out io.Writer) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", d.Socket("serial1"))
	if err != nil {
		return infra("connect to the DUT's shell", err)
	}
	defer conn.Close()
	old, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return infra("set up the terminal", err)
	}
	defer func() { _ = term.Restore(int(in.Fd()), old) }()
	ended := make(chan error, 2)
	go func() {
		_, err := io.Copy(out, conn)
		ended <- err
	}()
	go func() { ended <- copyUntilEscape(conn, in) }()
	if _, err := conn.Write([]byte("\n")); err != nil { // for a prompt: the shell has printed its first one to nobody
		return infra("write to the DUT's shell", err)
	}
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return err
}

func copyUntilEscape(w io.Writer, r io.Reader) error {
	buf := make([]byte, 1024)
	for {
		n, err := r.Read(buf)
		if err != nil {
			return err
		}
		if i := bytes.IndexByte(buf[:n], escape); i >= 0 {
			_, err := w.Write(buf[:i])
			return err
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
	}
}
