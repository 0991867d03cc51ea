package vm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"vmtb/bench"
)

// QEMU's programs hold an OFD lock on a byte of an image for each thing that they may do with it,
// and on another byte for each thing that no other program may do meanwhile (RAW_LOCK_PERM_BASE and
// RAW_LOCK_SHARED_BASE in QEMU's block/file-posix.c, with the bits of BLK_PERM_* in
// include/block/block-common.h). A machine needs to read its image, and lets no one else write to
// it or change its size.
var imageLocks = []struct {
	at  int64
	say string
}{
	{101, "which writes to it"},
	{103, "which may change its size"},
	{200, "which lets no other program read it"},
}

// checkUnlocked refuses a file of an image that another of QEMU's programs uses so that a machine
// cannot start on it. name is the file for people. A program that takes no such locks is not seen,
// and neither is a file that cannot be opened here.
func checkUnlocked(name, file string) error {
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() && info.Mode().Type() != fs.ModeDevice { // opening a FIFO would wait
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil // what opens it next says so
	}
	defer f.Close()
	for _, l := range imageLocks {
		// A test for a write lock finds locks of both kinds, and asks for no right to write.
		lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: unix.SEEK_SET, Start: l.at, Len: 1}
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.EOPNOTSUPP) {
			return nil // QEMU does without them there, too
		}
		if err != nil {
			return infra("look for locks on an image", err)
		}
		if lock.Type != unix.F_UNLCK {
			return inUse(name, l.say)
		}
	}
	return nil
}

func inUse(name, say string) error {
	advice := fmt.Sprintf("end that program; lsof %s shows it", bench.Command{Argv: []string{name}})
	return refuseImage(advice, "%s is in use by another program, %s", name, say)
}
