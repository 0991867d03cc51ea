package contract

import (
	"io"
	"io/fs"
	"os"

	"vmtb/bench/undo"
)

// A System is a host with its files: [OS], or a fake.
type System interface {
	undo.System
	ReadDir(path string) ([]fs.DirEntry, error)
	Open(path string, flag int) (File, error) // flag as for open(2)
}

// A File is an open file, for the rules about what happens while a file is open and about offsets.
type File interface {
	io.ReadWriteSeeker
	io.Closer
	io.ReaderAt
	io.WriterAt
}

// OS is the host that this process runs on.
type OS struct{ undo.OS }

var _ System = OS{}

// Open implements [System].
func (OS) Open(path string, flag int) (File, error) { return os.OpenFile(path, flag, 0) }
