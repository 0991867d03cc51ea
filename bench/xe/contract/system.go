package contract

import (
	"io"
	"io/fs"
	"os"

	"vmtb/bench/undo"
	"vmtb/bench/vfio"
)

// A System is a host's file system: [OS], or a fake.
type System interface {
	undo.System
	ReadDir(path string) ([]fs.DirEntry, error)
	Open(path string, flag int) (File, error) // flag as for open(2)
}

// A File is an open file. Rules about open files and about offsets use it.
type File interface {
	io.ReadWriteSeeker
	io.Closer
	io.ReaderAt
	io.WriterAt
}

// A VFIOSystem is a [System] that opens PCI functions through VFIO.
type VFIOSystem interface {
	OpenVFIO(group int, address string) (VFIODevice, error)
}

// A VFIODevice is an open function: a [vfio.Device], or a fake.
type VFIODevice interface {
	MigrationFlags() (uint64, error)
	DataSize() (uint64, error)
	State() (vfio.State, error)
	SetState(s vfio.State) (io.ReadWriteCloser, error)
	Reset() error
	Register(offset int64) (uint32, error)
	SetRegister(offset int64, value uint32) error
	Close() error
}

// OS is the host that this process runs on.
type OS struct{ undo.OS }

var (
	_ System     = OS{}
	_ VFIOSystem = OS{}
)

// OpenVFIO implements [VFIOSystem].
func (OS) OpenVFIO(group int, address string) (VFIODevice, error) {
	d, err := vfio.Open(group, address)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Open implements [System].
func (OS) Open(path string, flag int) (File, error) { return os.OpenFile(path, flag, 0) }
