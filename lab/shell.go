package lab

import (
	"context"
	"errors"
	"io"
	"net"
	"os"

	"vmtb/internal/rawterm"
)

// attach connects a terminal to a shell's serial port, until the user types Ctrl-] or the machine
// ends.
func attach(ctx context.Context, conn net.Conn, in *os.File, out io.Writer) error {
	defer conn.Close()
	restore, err := rawterm.Make(in, out)
	if err != nil {
		return infra("set up the terminal", err)
	}
	defer restore()
	ended := make(chan error, 2)
	go func() {
		_, err := io.Copy(out, conn)
		ended <- err
	}()
	go func() { ended <- rawterm.CopyUntilEscape(conn, in) }()
	// Makes the shell print its prompt again: nobody saw the first one.
	if _, err := conn.Write([]byte("\n")); err != nil {
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
