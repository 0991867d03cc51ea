//go:build integration

package vm

import (
	"bytes"
	"crypto/des"
	"errors"
	"fmt"
	"image/png"
	"io"
	"math/bits"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"vmtb/bench"
	"vmtb/bench/qmp"
)

// bare returns a machine that need not boot.
func bare(t *testing.T) Spec {
	s := guestSpec(t)
	s.MemoryMiB = 128
	return s
}

// An rfb is a client for the handshake of VNC's protocol (RFC 6143).
type rfb struct{ net.Conn }

func dialRFB(t *testing.T, port int) rfb {
	t.Helper()
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	return rfb{conn}
}

func (c rfb) read(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	_, err := io.ReadFull(c, b)
	must(t, err)
	return b
}

func (c rfb) write(t *testing.T, b []byte) {
	t.Helper()
	_, err := c.Write(b)
	must(t, err)
}

// securityTypes begins the handshake and returns the server's offer: 1 is none, 2 is VNC
// authentication.
func (c rfb) securityTypes(t *testing.T) []byte {
	t.Helper()
	if v := c.read(t, 12); string(v) != "RFB 003.008\n" {
		t.Fatalf("version %q", v)
	}
	c.write(t, []byte("RFB 003.008\n"))
	return c.read(t, int(c.read(t, 1)[0]))
}

// authenticate answers the challenge of security type 2, and reports whether the server accepts the
// answer.
func (c rfb) authenticate(t *testing.T, password string) bool {
	t.Helper()
	c.write(t, []byte{2})
	var key [8]byte
	copy(key[:], password)
	for i := range key {
		key[i] = bits.Reverse8(key[i]) // the protocol reverses the bits of each byte of the key
	}
	cipher, err := des.NewCipher(key[:])
	must(t, err)
	response := c.read(t, 16)
	cipher.Encrypt(response, response)
	cipher.Encrypt(response[8:], response[8:])
	c.write(t, response)
	return bytes.Equal(c.read(t, 4), []byte{0, 0, 0, 0})
}

// If the wanted port is in use, VNC gets another one. Only the password opens it.
func TestIntegrationVNC(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0") // the ports after it are probably free
	must(t, err)
	defer taken.Close()
	display := taken.Addr().(*net.TCPAddr).Port - vncBase
	for mode, listens := range map[VNCMode]string{VNCLocal: "127.0.0.1", VNCOn: "0.0.0.0"} {
		t.Run(string(mode), func(t *testing.T) {
			s := bare(t)
			s.VNC = VNC{Mode: mode, Display: display}
			m := newPlace(t).run(t, s)
			server, _ := m.UserAccess().VNC()
			if server.Host != listens || server.Port <= vncBase+display || server.Port > vncBase+display+vncPorts {
				t.Fatalf("%+v, want another port than %d", server, vncBase+display)
			}
			if types := dialRFB(t, server.Port).securityTypes(t); !bytes.Equal(types, []byte{2}) {
				t.Errorf("security types %v, want just 2", types)
			}
			for password, want := range map[string]bool{server.Password: true, "WRONG234": false, "": false} {
				c := dialRFB(t, server.Port)
				c.securityTypes(t)
				if ok := c.authenticate(t, password); ok != want {
					t.Errorf("password %q: let in %v", password, ok)
				}
			}
			cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", m.PID()))
			if must(t, err); bytes.Contains(cmdline, []byte(server.Password)) {
				t.Error("the password is on the command line")
			}
			for path, text := range tree(t, m.logs.dir) {
				if strings.Contains(text, server.Password) && !strings.HasSuffix(path, "/"+vncSecret) {
					t.Errorf("the password is in %s", path)
				}
			}
		})
	}
}

func TestIntegrationVNCWithoutPassword(t *testing.T) {
	t.Parallel()
	s := bare(t)
	s.VNC.Mode = VNCOpen
	m := newPlace(t).run(t, s)
	server, _ := m.UserAccess().VNC()
	if types := dialRFB(t, server.Port).securityTypes(t); !bytes.Equal(types, []byte{1}) {
		t.Errorf("security types %v, want just 1", types)
	}
}

func TestIntegrationSSHForward(t *testing.T) {
	t.Parallel()
	s := bare(t)
	s.SSH.Forward = true
	m := newPlace(t).run(t, s)
	port := strconv.Itoa(m.UserAccess().SSHPort())
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		t.Fatalf("port %s: %v", port, err)
	}
	conn.Close()
	addresses, err := net.InterfaceAddrs()
	must(t, err)
	for _, a := range addresses {
		if ip := a.(*net.IPNet).IP; !ip.IsLoopback() && ip.To4() != nil {
			if conn, err := net.Dial("tcp", net.JoinHostPort(ip.String(), port)); err == nil {
				conn.Close()
				t.Errorf("port %s is open on %v, too", port, ip)
			}
		}
	}
	s.SSH.Port = m.UserAccess().SSHPort() // this port is in use
	_, err = Start(t.Context(), s, newPlace(t).Options)
	if !errors.As(err, new(*bench.InfraError)) ||
		!strings.Contains(err.Error(), "port "+port+" of 127.0.0.1 is in use") {
		t.Errorf("port taken: %T %v", err, err)
	}
}

// Data sent to the forwarded port arrives at the guest's port 22.
func TestIntegrationSSHReachesGuest(t *testing.T) {
	t.Parallel()
	s := guestSpec(t)
	s.SSH.Forward = true
	m := newPlace(t).boot(t, s)
	sh(t, m, "modprobe virtio_net && ip link set eth0 up && ip addr add 10.0.2.15/24 dev eth0")
	p, err := m.Start(t.Context(), bench.Command{Argv: []string{"nc", "-l", "-p", "22", "-e", "cat"}})
	must(t, err)
	sh(t, m, "until grep -q ':0016 .* 0A ' /proc/net/tcp /proc/net/tcp6; do usleep 10000; done") // until it listens
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(m.UserAccess().SSHPort())))
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	const said = "to the guest and back\n"
	_, err = io.WriteString(conn, said)
	must(t, err)
	got := make([]byte, len(said))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != said {
		t.Errorf("%q, %v", got, err)
	}
	conn.Close()
	if r, err := p.Wait(t.Context()); err != nil || !r.OK() {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestIntegrationScreenshot(t *testing.T) {
	t.Parallel()
	s := bare(t)
	m := newPlace(t).run(t, s)
	if err := m.Evidence().Screenshot(t.Context(), "a.png"); !errors.Is(err, ErrNoDisplay) {
		t.Errorf("no card: %v, want ErrNoDisplay", err)
	}
	s.Devices = []string{"VGA"}
	m = newPlace(t).run(t, s)
	must(t, m.Evidence().Screenshot(t.Context(), "a.png"))
	f, err := os.Open(m.logs.path("a.png"))
	must(t, err)
	defer f.Close()
	if picture, err := png.Decode(f); err != nil || picture.Bounds().Dx() < 100 {
		t.Errorf("%v, %v", picture, err)
	}
}

// waitFor reads until text arrives.
func waitFor(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	must(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	var all []byte
	for buf := make([]byte, 4096); !bytes.Contains(all, []byte(text)); {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("%v, want %q, have %q", err, text, all)
		}
		all = append(all, buf[:n]...)
	}
}

// Users attach, detach and attach again. The guest never waits for them, and console.log is
// complete.
func TestIntegrationConsole(t *testing.T) {
	t.Parallel()
	m := newPlace(t).boot(t, guestSpec(t)) // nobody is attached during the boot
	enter := func(conn net.Conn, line string) {
		t.Helper()
		_, err := io.WriteString(conn, line+"\n")
		must(t, err)
	}
	for n := range 3 {
		conn, err := m.UserAccess().Console(t.Context())
		must(t, err)
		enter(conn, fmt.Sprintf("echo attached-$((%d+40))", n))
		waitFor(t, conn, fmt.Sprintf("attached-%d", n+40))
		if n == 0 {
			if _, err := m.UserAccess().Console(t.Context()); !errors.Is(err, ErrAttached) {
				t.Errorf("second client: %v, want ErrAttached", err)
			}
		}
		must(t, conn.Close())
		sh(t, m, fmt.Sprintf("echo alone-$((%d+50)) >/dev/ttyS0", n))
	}
	sh(t, m, "head -c 300000 /dev/zero | tr '\\0' x >/dev/ttyS0") // more than any socket's buffers
	sh(t, m, "echo at last >/dev/ttyS0")
	log, err := os.ReadFile(m.logs.path("console.log"))
	must(t, err)
	for _, want := range []string{
		"Linux version", "attached-40", "alone-50", "attached-42", "alone-52", strings.Repeat("x", 300000), "at last",
	} {
		if !bytes.Contains(log, []byte(want)) {
			t.Errorf("console.log: no %.20q", want)
		}
	}

	people, err := qmp.Dial(t.Context(), m.Socket(PeopleSocket), qmp.Options{}) // beside our own monitor
	must(t, err)
	defer people.Close()
	var reply struct{ Status string }
	if err := people.Execute(t.Context(), "query-status", nil, &reply); err != nil || reply.Status != "running" {
		t.Errorf("monitor for people: %+v, %v", reply, err)
	}
}
