package keep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
)

// inDir calls do with a short path of the folder dir. The path of a unix socket must be shorter
// than 108 bytes (struct sockaddr_un), and a folder's path may be longer. So the path goes through
// the folder's descriptor.
func inDir[T any](dir string, do func(path string) (T, error)) (T, error) {
	f, err := os.Open(dir)
	if err != nil {
		var none T
		return none, err
	}
	defer f.Close()
	return do(fmt.Sprintf("/proc/self/fd/%d/%s", f.Fd(), controlFile))
}

// listen makes the socket in a machine's folder. Only its owner may connect. It removes the socket
// of a dead keeper: the caller holds the folder's journal, so no living keeper uses the socket.
func listen(dir string) (net.Listener, error) {
	return inDir(dir, func(path string) (net.Listener, error) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", path)
		if err != nil {
			return nil, err
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false) // the path is invalid after this function
		if err := os.Chmod(path, 0o600); err != nil {
			l.Close()
			return nil, err
		}
		return l, nil
	})
}

func dial(ctx context.Context, dir string) (net.Conn, error) {
	return inDir(dir, func(path string) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "unix", path) })
}

// alive reports whether a process listens on the socket of a machine's folder.
func alive(dir string) bool {
	conn, err := dial(context.Background(), dir)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
