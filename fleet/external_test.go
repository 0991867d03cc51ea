package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// natsServer is a nats-server that labs start instead of "vmtb-fleet serve", if it is not "".
var natsServer = os.Getenv("FLEET_NATS_SERVER")

// enrollOutside makes a key, and allows it in the configuration of natsServer.
func (l *lab) enrollOutside(name, role, file string) {
	l.t.Helper()
	state := filepath.Join(l.dir, "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		l.t.Fatal(err)
	}
	_, ca, err := certificate(state)
	if err != nil {
		l.t.Fatal(err)
	}
	k, public, err := newKey("tls://"+l.address(), name, role, ca)
	if err == nil {
		err = k.write(file)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.outside = append(l.outside, public)
	cert := filepath.Join(state, "cert.pem")
	conf := fmt.Sprintf("listen: %q\nmax_payload: 8388608\n"+
		"jetstream { store_dir: %q, sync_interval: always }\n"+
		"tls { cert_file: %q, key_file: %[3]q, timeout: 10 }\nauthorization { users: [\n", l.address(), state, cert)
	for _, user := range l.outside {
		conf += "{ nkey: " + user + " }\n"
	}
	if err := os.WriteFile(filepath.Join(state, "nats.conf"), []byte(conf+"] }\n"), 0o600); err != nil {
		l.t.Fatal(err)
	}
	if server := l.running()["server"]; server != nil {
		l.wait("listening, since a signal before that ends the server", func() bool {
			c, err := net.Dial("tcp", l.address())
			if err == nil {
				c.Close()
			}
			return err == nil
		})
		_ = server.Process.Signal(syscall.SIGHUP) // loads the users again; a server that is down does not need it
	}
}

// An external NATS server, with its own users and certificate, works like "vmtb-fleet serve". The
// first submit makes streams and buckets there. An agent that started before waits for them (check
// 15, with the server version of our go.mod; "make fleet-external" has a nats-server 2.10).
func TestExternalEngine(t *testing.T) {
	dir := t.TempDir()
	cert, ca, err := certificate(dir)
	if err != nil {
		t.Fatal(err)
	}
	person, personPublic, err := newKey("", "ci", roleSubmit, ca)
	if err != nil {
		t.Fatal(err)
	}
	dut, dutPublic, err := newKey("", "dut1", roleDUT, ca)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir, SyncAlways: true,
		TLS:       true,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13},
		Nkeys:     []*server.NkeyUser{{Nkey: personPublic}, {Nkey: dutPublic}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not come up")
	}
	person.URL = "tls://" + s.Addr().String()
	dut.URL = person.URL
	l := &lab{t: t, dir: dir}
	t.Setenv("TOY_DIR", l.toyDir("dut1"))
	t.Setenv("VMTB_STATE_DIR", filepath.Join(l.toyDir("dut1"), "state"))
	if l.self, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(l.toyDir("dut1"), 0o755); err != nil {
		t.Fatal(err)
	}
	l.label("dut1", large)
	ended := make(chan error, 1)
	go func() {
		o := agentOptions{vmtb: l.vmtb(), spool: filepath.Join(dir, "spool")}
		ended <- runAgent(t.Context(), dut, o, slog.New(slog.DiscardHandler))
	}()
	b, err := connect(t.Context(), person)
	if err != nil {
		t.Fatal(err)
	}
	defer b.nc.Close()
	o := submitOptions{vmtb: l.vmtb(), id: "r1", lost: short}
	if _, err := submit(t.Context(), b, o, []string{"test_toy::TestWeak"}, t.Output()); err != nil {
		t.Fatal(err)
	}
	l.wait("results", func() bool { return len(l.done(b, "r1")) == 6 })
	for _, r := range l.done(b, "r1") {
		if r.Exit != 0 || r.DUT != "dut1" {
			t.Errorf("%+v", r)
		}
	}
	select {
	case err := <-ended:
		t.Errorf("the agent ended: %v", err)
	default:
	}
}
