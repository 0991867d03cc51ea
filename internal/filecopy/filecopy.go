package filecopy

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// Copy copies the file from to the file to. A new file gets the mode perm. Unlike with package
// atomicfile, a failed copy may leave a partial file.
func Copy(to, from string, perm fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in) // copy_file_range(2)
	return errors.Join(err, out.Close())
}
