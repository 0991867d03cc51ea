package initrd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// newRoot is where [Run] mounts the guest's root file system.
const newRoot = "/root"

// rootWait limits how long [Run] waits for the disk with the root file system. A guest of an emulated
// machine is slow.
const rootWait = 2 * time.Minute

// Run is the init program of an initial RAM disk, if this process is one. Then it returns only after an
// error, and the end of the process makes the kernel panic.
func Run(args []string) (code int, ran bool) {
	if os.Getpid() != 1 || len(args) == 0 || args[0] != "/"+initFile {
		return 0, false
	}
	if _, err := os.Stat("/" + idFile); err != nil {
		return 0, false
	}
	err := boot(args[1:])
	fmt.Fprintf(os.Stderr, "vmtb: the guest cannot boot with this kernel: %v\n", err)
	return 1, true
}

// boot starts the guest's own init program, with the arguments that the kernel has given to this one. It
// returns only after an error.
func boot(args []string) error {
	for _, m := range []struct{ kind, dir string }{{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}} {
		if err := unix.Mount(m.kind, m.dir, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	params := parameters(string(cmdline))
	modules, err := openModules("/" + modulesDir)
	if err != nil {
		return err
	}
	modules.loadAll(firstDrivers)
	modules.loadAll(helpers)
	r := rootFinder{modules: modules, params: params}
	if err := r.find(rootWait); err != nil {
		return err
	}
	if err := modules.give(newRoot); err != nil {
		return fmt.Errorf("put the modules of Linux %s into the guest's root on %s: %w", modules.release, r.device, err)
	}
	fmt.Fprintf(os.Stderr, "vmtb: Linux %s, root %s (%s)\n", modules.release, r.device, r.kind)
	return switchRoot(append([]string{r.init}, args...))
}

// parameters returns the parameters of a kernel command line. Of a name that comes more than once, the
// last value counts.
func parameters(cmdline string) map[string]string {
	params := map[string]string{}
	for _, word := range strings.Fields(cmdline) {
		name, value, _ := strings.Cut(word, "=")
		params[name] = strings.Trim(value, `"`)
	}
	return params
}

// switchRoot frees the memory of the initial RAM disk, makes newRoot the root, and executes argv.
func switchRoot(argv []string) error {
	for _, dir := range []string{"/sys", "/proc"} { // the guest mounts its own
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
	}
	if err := unix.Mount("/dev", filepath.Join(newRoot, "dev"), "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move /dev into the guest's root: %w", err)
	}
	err := errors.Join(os.RemoveAll("/vmtb"), os.Remove("/"+initFile))
	if err == nil {
		err = os.Chdir(newRoot)
	}
	if err == nil {
		err = unix.Mount(".", "/", "", unix.MS_MOVE, "")
	}
	if err == nil {
		err = unix.Chroot(".")
	}
	if err == nil {
		err = os.Chdir("/")
	}
	if err != nil {
		return fmt.Errorf("switch to the guest's root: %w", err)
	}
	return fmt.Errorf("execute %s: %w", argv[0], unix.Exec(argv[0], argv, os.Environ()))
}
