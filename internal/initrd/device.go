package initrd

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// A deviceWatch is a socket on which the kernel reports changes of devices (uevents).
type deviceWatch int

func watchDevices() (deviceWatch, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return 0, err
	}
	const kernelEvents = 1 // the group
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: kernelEvents}); err != nil {
		return 0, errors.Join(err, unix.Close(fd))
	}
	return deviceWatch(fd), nil
}

func (w deviceWatch) close() { _ = unix.Close(int(w)) }

// wait waits for the next report, and takes all that there are. It returns false if none comes within d.
func (w deviceWatch) wait(d time.Duration) bool {
	poll := []unix.PollFd{{Fd: int32(w), Events: unix.POLLIN}}
	for end := time.Now().Add(d); ; {
		n, err := unix.Poll(poll, int(max(0, time.Until(end)).Milliseconds()))
		if n > 0 {
			break
		}
		if !errors.Is(err, unix.EINTR) { // no report in time, or no way to get one
			return false
		}
	}
	for {
		_, _, err := unix.Recvfrom(int(w), make([]byte, 4096), unix.MSG_DONTWAIT)
		if err != nil && !errors.Is(err, unix.ENOBUFS) { // ENOBUFS: the kernel has dropped some
			return true
		}
	}
}
