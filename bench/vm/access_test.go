package vm

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"vmtb/bench"
)

// tree returns the content of all regular files below dirs, by name.
func tree(t *testing.T, dirs ...string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, dir := range dirs {
		for _, name := range names(t, dir) {
			path := filepath.Join(dir, name)
			if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
				continue
			}
			data, err := os.ReadFile(path)
			must(t, err)
			files[path] = string(data)
		}
	}
	return files
}

// The password is in exactly two files, which only their owner can read.
func TestVNCPassword(t *testing.T) {
	seen := map[string]bool{}
	for mode, host := range map[VNCMode]string{VNCOn: "0.0.0.0", VNCLocal: "127.0.0.1"} {
		m, err := startFake(t, "agent", func(s *Spec, o *Options) {
			s.VNC = VNC{Mode: mode, Display: 1}
			must(t, os.MkdirAll(o.Dir, 0o755))
			must(t, os.WriteFile(filepath.Join(o.Dir, vncSecret), []byte("of a former run"), 0o644))
		})
		must(t, err)
		server, on := m.UserAccess().VNC()
		if !on || server.Host != host || server.Port != 5903 || server.Address() != "127.0.0.1::5903" {
			t.Errorf("%s: %+v, %v", mode, server, on)
		}
		if !regexp.MustCompile(`^[A-Z2-7]{8}$`).MatchString(server.Password) || seen[server.Password] {
			t.Errorf("password %q, want 8 characters of its own", server.Password)
		}
		seen[server.Password] = true
		for path, text := range tree(t, m.logs.dir, string(m.sockets)) {
			secret := filepath.Base(path) == vncSecret
			if strings.Contains(text, server.Password) != secret {
				t.Errorf("%s: the password is in it: %v", path, !secret)
			}
			info, err := os.Stat(path)
			if must(t, err); secret && (text != server.Password || info.Mode().Perm() != 0o600) {
				t.Errorf("%s: mode %v, %q", path, info.Mode(), text)
			}
		}
		if strings.Contains(strings.Join(m.Args(), " "), server.Password) {
			t.Error("the password is on the command line")
		}
		must(t, m.WaitReady(t.Context()))
	}
}

func TestAccess(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Spec)
		want   []string
		never  string
	}{
		"nothing asked for": {
			func(*Spec) {}, []string{"socat -,rawer,escape=0x1d UNIX-CONNECT:", "/console", "/monitor"}, "vnc|ssh",
		},
		"off": {func(s *Spec) { s.VNC.Mode = VNCOff }, nil, "vnc"},
		"open": {
			func(s *Spec) { s.VNC.Mode = VNCOpen },
			[]string{"vncviewer 127.0.0.1::5903   # listens on 0.0.0.0:5903"},
			"password",
		},
		"on":  {func(s *Spec) { s.VNC.Mode = VNCOn }, []string{"vnc-password   # its password"}, "ssh"},
		"ssh": {func(s *Spec) { s.SSH.Forward = true }, []string{"ssh -p 37743 root@127.0.0.1"}, "vnc"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := startFake(t, "agent", func(s *Spec, _ *Options) { c.change(s) })
			must(t, err)
			text, err := os.ReadFile(m.logs.path("access.txt"))
			must(t, err)
			for _, want := range c.want {
				if !strings.Contains(string(text), want) {
					t.Errorf("access.txt: want %q in\n%s", want, text)
				}
			}
			if regexp.MustCompile(c.never).Match(text) {
				t.Errorf("access.txt: want no %q in\n%s", c.never, text)
			}
			if _, on := m.UserAccess().VNC(); on != (name == "open" || name == "on") {
				t.Errorf("VNC: %v", on)
			}
			if want := map[bool]int{true: 37743}[name == "ssh"]; m.UserAccess().SSHPort() != want {
				t.Errorf("SSH port %d, want %d", m.UserAccess().SSHPort(), want)
			}
		})
	}
}

// usernet is the reply of QEMU 10.0.2 to "info usernet".
const usernet = "Hub -1 (net0):\r\n" +
	"  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n" +
	"  TCP[ESTABLISHED]    9       10.0.2.15    22       127.0.0.1 50022     0     0\r\n" +
	"  TCP[HOST_FORWARD]   8       127.0.0.1 37743       10.0.2.15    22     0     0\r\n"

func TestParseForward(t *testing.T) {
	for text, want := range map[string]int{
		usernet: 37743, "": 0,
		strings.ReplaceAll(usernet, " 22 ", " 23 "):         0,
		strings.ReplaceAll(usernet, "37743", "377430000"):   0,
		strings.ReplaceAll(usernet, "127.0.0.1", "0.0.0.0"): 0,
	} {
		if port, err := parseForward(text); err == nil && port != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, %v, want %d", text, port, err, want)
		}
	}
}

func FuzzParseForward(f *testing.F) {
	f.Add(usernet)
	f.Fuzz(func(t *testing.T, text string) {
		port, err := parseForward(text)
		if err == nil && (port < 0 || port > 65535 || !strings.Contains(text, strconv.Itoa(port))) {
			t.Errorf("%d in %q", port, text)
		}
	})
}

func TestConsole(t *testing.T) {
	m := bootFake(t, "")
	echo := func(conn net.Conn, text string) {
		t.Helper()
		_, err := io.WriteString(conn, text)
		must(t, err)
		back := make([]byte, len(text))
		if _, err := io.ReadFull(conn, back); err != nil || string(back) != text {
			t.Errorf("%q, %v, want %q", back, err, text)
		}
	}
	conn, err := m.UserAccess().Console(t.Context())
	must(t, err)
	echo(conn, "first")
	m.life.scale = 0.05
	if _, err := m.UserAccess().Console(t.Context()); !errors.Is(err, ErrAttached) ||
		!errors.As(err, new(*bench.UsageError)) {
		t.Errorf("second client: %v, want ErrAttached", err)
	}
	m.life.scale = 1
	must(t, conn.Close())
	again, err := m.UserAccess().Console(t.Context())
	must(t, err)
	echo(again, "again")
	must(t, again.Close())
	must(t, m.Power().Kill(t.Context()))
	if _, err := m.UserAccess().Console(t.Context()); !errors.Is(err, ErrOff) {
		t.Errorf("console of a machine that is off: %v, want ErrOff", err)
	}
}

func TestScreenshot(t *testing.T) {
	m := bootFake(t, "display")
	must(t, m.Evidence().Screenshot(t.Context(), "a.png"))
	if data, err := os.ReadFile(m.logs.path("a.png")); err != nil || string(data) != "png" {
		t.Errorf("%q, %v", data, err)
	}
	if err := m.Evidence().Screenshot(t.Context(), "/none/a.png"); err == nil {
		t.Error("no error for a folder that is not there")
	}
	err := bootFake(t, "").Evidence().Screenshot(t.Context(), "a.png")
	if !errors.Is(err, ErrNoDisplay) || !errors.Is(err, bench.ErrNotAvailable) ||
		!strings.Contains(err.Error(), `"VGA"`) {
		t.Errorf("no card: %v, want ErrNoDisplay", err)
	}
}
