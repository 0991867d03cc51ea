package main

import (
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// An external NATS server, with its own users and certificate, works like "vmtb-fleet serve". The
// first submit makes streams and buckets there. An agent that started before waits for them (check
// 15, with the server version of our go.mod).
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
