package rawterm

import (
	"bytes"
	"io"
	"os"

	"golang.org/x/term"
)

// escape is Ctrl-], which ends the connection, as in telnet.
const escape = 0x1d

// Make makes a terminal raw. restore resets the terminal, and moves the cursor on out to the start
// of a line.
func Make(in *os.File, out io.Writer) (restore func(), err error) {
	old, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, err
	}
	return func() {
		_ = term.Restore(int(in.Fd()), old)
		_, _ = io.WriteString(out, "\n") // the cursor is after a prompt
	}, nil
}

// CopyUntilEscape copies a user's input, up to Ctrl-] or the end of r.
func CopyUntilEscape(w io.Writer, r io.Reader) error {
	buf := make([]byte, 1024)
	for {
		n, err := r.Read(buf)
		i := bytes.IndexByte(buf[:n], escape)
		if i >= 0 {
			n, err = i, io.EOF
		}
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
