package qtest

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Options describe the QEMU to start.
type Options struct {
	Root   string   // root directory of a Debian system with QEMU in it
	Object string   // the device as a shared object, from lab/gpu/build.sh
	Dir    string   // a directory for sockets, with a short path
	Device string   // value of -device
	Args   []string // more arguments of QEMU
	Env    []string // more environment of QEMU
	Stderr *os.File // of QEMU; nil: discarded
}

// A Machine is a QEMU under the accelerator "qtest". Its methods are for one goroutine. After the
// first error, all further calls do nothing, and Err returns that error.
type Machine struct {
	cmd  *exec.Cmd
	conn net.Conn
	rd   *bufio.Reader
	qmp  net.Conn
	qrd  *bufio.Reader
	err  error
}

// Start starts QEMU and connects to it. The end of ctx ends QEMU.
func Start(ctx context.Context, o Options) (*Machine, error) {
	lib := filepath.Join(o.Root, "usr/lib/x86_64-linux-gnu")
	qt, qm := filepath.Join(o.Dir, "qtest"), filepath.Join(o.Dir, "qmp")
	args := []string{
		"--library-path", lib, "--preload", o.Object, filepath.Join(o.Root, "usr/bin/qemu-system-x86_64"),
		"-machine", "q35", "-accel", "qtest", "-m", "256", "-nodefaults", "-display", "none",
		"-L", filepath.Join(o.Root, "usr/share/seabios"), "-L", filepath.Join(o.Root, "usr/share/qemu"),
		"-qtest", "unix:" + qt, "-qtest-log", "none", "-qmp", "unix:" + qm, "-device", o.Device,
	}
	var lc net.ListenConfig
	ql, err := lc.Listen(ctx, "unix", qt)
	if err != nil {
		return nil, fmt.Errorf("listen for QEMU's qtest socket: %w", err)
	}
	defer ql.Close()
	ml, err := lc.Listen(ctx, "unix", qm)
	if err != nil {
		return nil, fmt.Errorf("listen for QEMU's monitor: %w", err)
	}
	defer ml.Close()

	cmd := exec.CommandContext(ctx, filepath.Join(o.Root, "lib64/ld-linux-x86-64.so.2"), append(args, o.Args...)...)
	cmd.Env = append(append(os.Environ(), "QEMU_MODULE_DIR="+filepath.Join(lib, "qemu")), o.Env...)
	cmd.Stderr = o.Stderr
	// A fuzzer's worker may end without its clean-up. The fuzzer then waits for every process that
	// has the worker's output open.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start QEMU: %w", err)
	}
	m := &Machine{cmd: cmd}
	if m.conn, m.err = accept(ctx, ql); m.err == nil {
		m.qmp, m.err = accept(ctx, ml)
	}
	if m.err != nil {
		return nil, errors.Join(fmt.Errorf("QEMU did not connect: %w", m.err), m.Close())
	}
	m.rd, m.qrd = bufio.NewReader(m.conn), bufio.NewReader(m.qmp)
	if err := m.QMP("qmp_capabilities", nil); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to QEMU's monitor: %w", err), m.Close())
	}
	return m, nil
}

func accept(ctx context.Context, l net.Listener) (net.Conn, error) {
	until, ok := ctx.Deadline()
	if !ok {
		until = time.Now().Add(time.Minute)
	}
	if err := l.(*net.UnixListener).SetDeadline(until); err != nil {
		return nil, err
	}
	c, err := l.Accept()
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(until)
}

// Close ends QEMU. It returns an error if QEMU had ended before, for example by a crash.
func (m *Machine) Close() error {
	for _, c := range []net.Conn{m.conn, m.qmp} {
		if c != nil {
			_ = c.Close()
		}
	}
	_ = m.cmd.Process.Kill()
	err := m.cmd.Wait()
	if s := m.cmd.ProcessState; s != nil && s.Exited() {
		return fmt.Errorf("QEMU ended before it was killed: %w", err)
	}
	return nil
}

// Err returns the first error of the connection.
func (m *Machine) Err() error { return m.err }

// do sends a line and returns the text after "OK".
func (m *Machine) do(format string, args ...any) string {
	if m.err != nil {
		return ""
	}
	line := fmt.Sprintf(format, args...)
	if _, err := fmt.Fprintln(m.conn, line); err != nil {
		m.err = fmt.Errorf("qtest %.60q: %w", line, err)
		return ""
	}
	for {
		s, err := m.rd.ReadString('\n')
		switch {
		case err != nil:
			m.err = fmt.Errorf("qtest %.60q: %w", line, err)
			return ""
		case strings.HasPrefix(s, "IRQ "):
		case strings.HasPrefix(s, "OK"):
			return strings.TrimSpace(s[2:])
		default:
			m.err = fmt.Errorf("qtest %.60q: %s", line, strings.TrimSpace(s))
			return ""
		}
	}
}

func (m *Machine) number(s string) uint64 {
	if m.err != nil {
		return 0
	}
	v, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		m.err = fmt.Errorf("qtest answered %q: %w", s, err)
	}
	return v
}

// Outl writes an I/O port.
func (m *Machine) Outl(port uint16, v uint32) { m.do("outl %#x %#x", port, v) }

// R32 reads a physical address.
func (m *Machine) R32(addr uint64) uint32 { return uint32(m.number(m.do("readl %#x", addr))) }

// W32 writes a physical address.
func (m *Machine) W32(addr uint64, v uint32) { m.do("writel %#x %#x", addr, v) }

// W16 writes a physical address.
func (m *Machine) W16(addr uint64, v uint16) { m.do("writew %#x %#x", addr, v) }

// W64 writes a physical address.
func (m *Machine) W64(addr, v uint64) { m.do("writeq %#x %#x", addr, v) }

// Read reads n bytes. QEMU chooses the size of each access.
func (m *Machine) Read(addr uint64, n int) []byte {
	b, err := hex.DecodeString(strings.TrimPrefix(m.do("read %#x %#x", addr, n), "0x"))
	if err != nil && m.err == nil {
		m.err = fmt.Errorf("qtest read %#x: %w", addr, err)
	}
	return b
}

// Write writes b to a physical address.
func (m *Machine) Write(addr uint64, b []byte) {
	if len(b) > 0 {
		m.do("write %#x %#x 0x%s", addr, len(b), hex.EncodeToString(b))
	}
}

// Step lets d pass on the virtual clock.
func (m *Machine) Step(d time.Duration) { m.do("clock_step %d", d.Nanoseconds()) }

// StepToTimer advances the virtual clock to the first of QEMU's timers, and returns by how much.
func (m *Machine) StepToTimer() time.Duration {
	before := m.number(m.do("clock_step 1"))
	return time.Duration(m.number(m.do("clock_step")) - before)
}

// QMP runs a command of the monitor and returns its error. This error does not count as an error of
// the Machine.
func (m *Machine) QMP(command string, args map[string]any) error { return m.Query(command, args, nil) }

// Query is [Machine.QMP] that also decodes the command's result into out, unless out is nil.
func (m *Machine) Query(command string, args map[string]any, out any) error {
	if m.err != nil {
		return m.err
	}
	req := map[string]any{"execute": command}
	if args != nil {
		req["arguments"] = args
	}
	if err := json.NewEncoder(m.qmp).Encode(req); err != nil {
		m.err = fmt.Errorf("QMP %s: %w", command, err)
		return m.err
	}
	for {
		line, err := m.qrd.ReadBytes('\n')
		if err != nil {
			m.err = fmt.Errorf("QMP %s: %w", command, err)
			return m.err
		}
		var a struct {
			Return json.RawMessage `json:"return"`
			Error  *struct {
				Desc string `json:"desc"`
			} `json:"error"`
		}
		if err := json.Unmarshal(line, &a); err != nil {
			m.err = fmt.Errorf("QMP %s: %w", command, err)
			return m.err
		}
		switch {
		case a.Error != nil:
			return fmt.Errorf("QMP %s: %s", command, a.Error.Desc)
		case a.Return != nil && out != nil:
			return json.Unmarshal(a.Return, out)
		case a.Return != nil:
			return nil
		}
	}
}

// Migrate runs "migrate" or "migrate-incoming" with a file until it ends, and reports whether it
// succeeded.
func (m *Machine) Migrate(ctx context.Context, command, file string) (bool, error) {
	args := map[string]any{"uri": "file:" + file}
	if command == "migrate-incoming" {
		args["exit-on-error"] = false
	}
	if err := m.QMP(command, args); err != nil {
		return false, err
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		var info struct {
			Status string `json:"status"`
		}
		if err := m.Query("query-migrate", nil, &info); err != nil {
			return false, err
		}
		if info.Status == "completed" || info.Status == "failed" {
			return info.Status == "completed", nil
		}
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("QMP %s: in state %q: %w", command, info.Status, ctx.Err())
		case <-tick.C:
		}
	}
}
