package vm

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"

	"vmtb/bench"
	"vmtb/bench/qmp"
)

// A VNCMode says who may see a machine's screen.
type VNCMode string

// The modes of a VNC server. QEMU's needs no VGA card; without one it shows an empty screen (see
// [ErrNoDisplay]).
const (
	VNCOff   VNCMode = "off"   // there is none; "" means the same
	VNCLocal VNCMode = "local" // on the loopback, with a password
	VNCOn    VNCMode = "on"    // on every address of the host, with a password
	VNCOpen  VNCMode = "open"  // on every address of the host, without a password, as the Python tool's
)

// A VNC is the VNC server of a machine. Its password is made for the run of the machine: 8
// characters, which is all that the protocol takes. It keeps people out, not attackers who can
// listen: nothing on the connection is encrypted.
type VNC struct {
	Mode    VNCMode
	Display int // port 5900 + Display, or when it is taken the next free one of the 99 after it
}

// An SSH is a port of the host's loopback that leads to port 22 of the guest, through QEMU's own
// network, which the machine gets for it.
type SSH struct {
	Forward bool
	// 0 lets the kernel choose a free one, as it always does for a machine of [ModeIncoming]: see [UserAccess.SSHPort]
	Port int
}

// vncPorts is how many ports are tried for a VNC server after the one that was asked for, and
// vncBase the port of display 0.
const (
	vncPorts = 99
	vncBase  = 5900
)

// vncSecret is the id of the QEMU object that holds the password, and the name of the file with it:
// in the private directory for QEMU, in the machine's folder for people.
const vncSecret = "vnc-password"

func (v VNC) on() bool { return v.Mode != "" && v.Mode != VNCOff }

func (v VNC) secret() bool { return v.Mode == VNCLocal || v.Mode == VNCOn }

func (v VNC) validate() error {
	switch v.Mode {
	case "", VNCOff, VNCLocal, VNCOn, VNCOpen:
	default:
		return fmt.Errorf("VNC mode %q: want off, local, on or open", v.Mode)
	}
	if v.Display < 0 || v.Display > 65535-vncBase-vncPorts {
		return fmt.Errorf("VNC display %d: want 0 to %d", v.Display, 65535-vncBase-vncPorts)
	}
	return nil
}

// vnc adds the server. The argument names the file of the password and does not hold it: everybody
// can read a command line.
func (a *argv) vnc(v VNC, l Layout) {
	if !v.on() {
		a.add("-display", "none")
		return
	}
	host, auth := "", ""
	if v.Mode == VNCLocal {
		host = "127.0.0.1"
	}
	if v.secret() {
		a.add("-object", "secret,id="+vncSecret+",file="+value(filepath.Join(l.Sockets, vncSecret)))
		auth = ",password-secret=" + vncSecret
	}
	a.add("-vnc", fmt.Sprintf("%s:%d,to=%d%s", host, v.Display, v.Display+vncPorts, auth))
}

// network adds QEMU's own network, if the machine has use for it.
func (a *argv) network(s Spec) {
	forward := ""
	if s.SSH.Forward {
		forward = fmt.Sprintf(",hostfwd=tcp:127.0.0.1:%d-:22", s.SSH.Port)
	}
	if s.UserNetwork || s.SSH.Forward {
		a.add("-netdev", "user,id=net0"+forward, "-device", "virtio-net-pci,netdev=net0,romfile=")
	}
}

// A VNCServer is where a machine's VNC server is.
type VNCServer struct {
	Host     string // address that it listens on: "0.0.0.0" (and then also "::"), "127.0.0.1"
	Port     int
	Password string // "" when it has none
}

// Address is the server as a VNC viewer takes it, seen from the host: "127.0.0.1::5901".
func (s VNCServer) Address() string {
	host := s.Host
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return fmt.Sprintf("%s::%d", host, s.Port)
}

// Listens is the address that the server listens on: "127.0.0.1:5901", or "0.0.0.0:5901" for every
// address of the host.
func (s VNCServer) Listens() string {
	return net.JoinHostPort(cmp.Or(s.Host, "0.0.0.0"), strconv.Itoa(s.Port))
}

// VNC is the machine's VNC server, as it was found when QEMU had started; false if the machine has
// none.
func (u *UserAccess) VNC() (VNCServer, bool) { return u.vnc, u.spec.VNC.on() }

// SSHPort is the port of the host's loopback that leads to the guest's port 22, or 0 ([Spec.SSH]).
func (u *UserAccess) SSHPort() int { return u.ssh }

// UserAccess is how people get at a machine: its VNC server, its SSH port, its serial console.
type UserAccess struct {
	life    *life
	qmp     *qmp.Client // nil until QEMU runs
	spec    *Spec
	logs    *logs
	sockets socketDir
	console sync.Mutex // held while somebody attaches
	vnc     VNCServer
	ssh     int
}

// prepare chooses the port and writes the password of this run, before QEMU starts.
func (u *UserAccess) prepare(mode Mode) error {
	if mode == ModeIncoming {
		u.spec.SSH.Port = 0 // the machine whose state comes still has its own
	}
	if !u.spec.VNC.secret() {
		return nil
	}
	u.vnc.Password = rand.Text()[:8] // 40 bits
	files := []string{u.sockets.path(vncSecret)}
	if u.logs.dir != string(u.sockets) {
		files = append(files, u.logs.path(vncSecret))
	}
	for _, f := range files {
		if err := writeSecret(f, u.vnc.Password); err != nil {
			return infra("write the VNC password", err)
		}
	}
	return nil
}

// writeSecret makes a file that nobody else can read at any moment, also where an older one lies.
func writeSecret(path, secret string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(secret)
	return errors.Join(err, f.Close())
}

// find asks the QEMU that has started where people get in, and writes it down for them.
func (u *UserAccess) find(ctx context.Context) error {
	if u.spec.VNC.on() {
		if err := u.findVNC(ctx); err != nil {
			return u.life.explain("find the VNC server", err)
		}
	}
	if u.spec.SSH.Forward {
		if err := u.findSSH(ctx); err != nil {
			return u.life.explain("find the SSH port", err)
		}
	}
	return infra("write access.txt", os.WriteFile(u.logs.path("access.txt"), u.text(), 0o644))
}

func (u *UserAccess) findVNC(ctx context.Context) error {
	var reply struct {
		Enabled       bool
		Host, Service string
	}
	if err := u.qmp.Execute(ctx, "query-vnc", nil, &reply); err != nil {
		return err
	}
	port, err := strconv.Atoi(reply.Service)
	if err != nil || !reply.Enabled {
		return fmt.Errorf("query-vnc: %+v: want a port", reply)
	}
	u.vnc.Host, u.vnc.Port = reply.Host, port
	return nil
}

// forwardRE is the line of "info usernet" for a forwarded port. QMP has no command that tells of
// it.
var forwardRE = regexp.MustCompile(`TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+22\s`)

func (u *UserAccess) findSSH(ctx context.Context) error {
	text, err := hmp(ctx, u.qmp, "info usernet")
	if err != nil {
		return err
	}
	u.ssh, err = parseForward(text)
	return err
}

// parseForward finds the port of the loopback that leads to the guest's port 22.
func parseForward(text string) (int, error) {
	line := forwardRE.FindStringSubmatch(text)
	if line == nil {
		return 0, fmt.Errorf("no forwarded port in %q", text)
	}
	port, err := strconv.ParseUint(line[1], 10, 16)
	return int(port), err
}

// hmp runs a command of QEMU's monitor for people, whose answer is text with lines that end in CR
// LF. It is for what QMP has no command for.
func hmp(ctx context.Context, monitor *qmp.Client, line string) (text string, err error) {
	err = monitor.Execute(ctx, "human-monitor-command", map[string]string{"command-line": line}, &text)
	return text, err
}

// text is access.txt: what to type to get at the machine while it runs.
func (u *UserAccess) text() []byte {
	var b bytes.Buffer
	add := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "%-8s %s\n", what, fmt.Sprintf(format, args...))
	}
	socket := func(name string) string { return bench.Quote("UNIX-CONNECT:" + u.sockets.path(name)) }
	add("console", "socat -,rawer,escape=0x1d %s   # Ctrl-] leaves; one at a time", socket(ConsoleSocket))
	add("monitor", "socat - %s   # QMP; one at a time", socket(PeopleSocket))
	if s, on := u.VNC(); on {
		add("vnc", "vncviewer %s   # listens on %s", s.Address(), s.Listens())
		if s.Password != "" {
			add("", "cat %s   # its password", bench.Quote(u.logs.path(vncSecret)))
		}
	}
	if u.ssh != 0 {
		add("ssh", "ssh -p %d root@127.0.0.1", u.ssh)
	}
	return b.Bytes()
}
