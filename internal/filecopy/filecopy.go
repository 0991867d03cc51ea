package filecopy

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// Copy copies the file from to the file to, which has the mode perm if it is new. Unlike package
// atomicfile, a copy that fails may leave a part of the file.
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
