package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"vmtb/flow"
)

// The engine allows a DUT's key only the operations of an agent (check 14).
func TestPermissions(t *testing.T) {
	l := newLab(t, long)
	b := l.admin()
	file := filepath.Join(l.dir, "dut1.key")
	l.must("enroll", "dut1", "-o", file)
	if out, code := l.run("enroll", "dut1", "-o", file+"2"); code == 0 ||
		!strings.Contains(out, "dut1 has a key already") {
		t.Errorf("a second key: %d %s", code, out)
	}
	k, err := readKey(file)
	if err != nil {
		t.Fatal(err)
	}
	refused := make(chan string, 20)
	d, err := connect(t.Context(), k, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		select {
		case refused <- err.Error():
		default:
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer d.nc.Close()
	within := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	for name, do := range map[string]func() error{
		"submit a unit": func() error { _, err := d.js.Publish(within(), "unit.x.r.u", []byte("{}")); return err },
		"log for another": func() error {
			_, err := d.js.Publish(within(), "log.dut2.r.u.1", []byte("{}"))
			return err
		},
		"speak for another":  func() error { _, err := d.kv.Put(within(), "dut.dut2", []byte("{}")); return err },
		"delete the queue":   func() error { return d.js.DeleteStream(within(), unitStream) },
		"purge the run dirs": func() error { return d.objects.Delete(within(), "x") },
		"change a run":       func() error { _, err := d.kv.Put(within(), "run.r", []byte("{}")); return err },
		"call itself good":   func() error { _, err := d.kv.Put(within(), "standing.dut1", []byte("{}")); return err },
		"change the queue": func() error {
			_, err := d.js.UpdateStream(within(), jetstream.StreamConfig{
				Name: unitStream, Subjects: []string{"unit.>"},
			})
			return err
		},
		"make a pool": func() error {
			_, err := d.js.CreateOrUpdateConsumer(within(), unitStream, jetstream.ConsumerConfig{Durable: "x"})
			return err
		},
		"enroll": func() error { _, err := d.kv.Put(within(), "key.dut2", []byte("{}")); return err },
	} {
		if err := do(); err == nil {
			t.Errorf("a DUT can %s", name)
		}
	}
	if _, err := d.nc.Subscribe("_INBOX_admin.>", func(*nats.Msg) {}); err == nil {
		_ = d.nc.Flush()
		l.wait("the refusal of another's inbox", func() bool {
			for {
				select {
				case text := <-refused:
					if strings.Contains(text, "_INBOX_admin") {
						return true
					}
				default:
					return false
				}
			}
		})
	}
	if _, err := b.kv.Create(t.Context(), "claim.r.u", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	c, err := d.kv.Get(within(), "claim.r.u")
	if err != nil {
		t.Fatal(err)
	}
	rev, err := d.kv.Update(within(), "claim.r.u", []byte("{}"), c.Revision())
	if err != nil || rev == 0 {
		t.Errorf("a DUT cannot claim: %v", err)
	}
	if _, err := d.kv.Update(within(), "claim.r.u", []byte("{}"), c.Revision()); notConflict(err) != nil || err == nil {
		t.Errorf("a stale revision is not refused: %v", err)
	}
	if _, err := d.objects.PutBytes(within(), "mine", bytes.Repeat([]byte("z"), 300_000)); err != nil {
		t.Errorf("a DUT cannot upload: %v", err)
	}
	for range 2 {
		if _, err = d.kv.Create(within(), "result.r.u", []byte("{}")); err != nil {
			break
		}
	}
	if !errors.Is(err, jetstream.ErrKeyExists) {
		t.Errorf("a second result is not refused: %v", err)
	}
	l.must("revoke", "dut1")
	l.wait("the connection of a revoked key to close", func() bool { return !d.nc.IsConnected() })
	if out, code := l.run("revoke", "dut1"); code == 0 || !strings.Contains(out, "has no key") {
		t.Errorf("revoked twice: %d %s", code, out)
	}
}

// A client cannot connect without a key, with an unknown key, or to an engine with another
// certificate than the key's.
func TestKeys(t *testing.T) {
	l := newLab(t, long)
	l.must("duts")
	k, err := readKey(filepath.Join(l.dir, "state", "admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	conf, err := k.tls()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nats.Connect(k.URL, nats.Secure(conf)); err == nil {
		t.Error("without a key")
	}
	if _, err := nats.Connect(
		k.URL, nats.Secure(&tls.Config{MinVersion: tls.VersionTLS13, ServerName: serverName}),
	); err == nil {
		t.Error("an engine that nobody knows is trusted")
	}
	if _, err := nats.Connect(strings.Replace(k.URL, "tls:", "nats:", 1), nats.RootCAs("/dev/null")); err == nil {
		t.Error("without TLS")
	}
	stranger, _, err := newKey(k.URL, "stranger", roleAdmin, k.CA)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := connect(t.Context(), stranger); err == nil ||
		!strings.Contains(err.Error(), "is the key still valid?") {
		t.Errorf("with a key that nobody has enrolled: %v", err)
	}
	file := filepath.Join(t.TempDir(), "k")
	if err := k.write(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readKey(file); err == nil || !strings.Contains(err.Error(), "can be read by others: chmod 600") {
		t.Errorf("a key that others can read: %v", err)
	}
}

// Whatever is in the queue, an agent runs only ids of its vmtb's flows, with options from its list.
func TestUnitsAreChecked(t *testing.T) {
	l := newLab(t, long)
	l.dut("a", small)
	b := l.admin()
	good := "test_toy::TestHealth::test_health[x]"
	units := []unit{
		{Fixture: "unknown", IDs: []string{"test_toy::TestHealth::test_health[y]"}},
		{Fixture: "flag", IDs: []string{"--run-dir=/tmp/evil", good}},
		{Fixture: "option", IDs: []string{good}, Options: map[string]string{"config": "/etc/shadow"}},
		{Fixture: "value", IDs: []string{good}, Options: map[string]string{"timeout": "1 --x"}},
		{Fixture: "nothing"},
		{Fixture: "fine", IDs: []string{good}, Options: map[string]string{"timeout-scale": "2", "rerun-failed": "1"}},
	}
	for i := range units {
		units[i].Run, units[i].Name = "r1", word(units[i].Fixture)
	}
	if err := b.queue(t.Context(), units, long, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := b.js.Publish(t.Context(), "unit."+units[0].pool()+".x.y", []byte(`{"run":"../x"}`)); err != nil {
		t.Fatal(err)
	}
	b.wake()
	l.wait("results", func() bool { return len(l.done(b, "r1")) == len(units) })
	for _, u := range units {
		r := l.done(b, "r1")[u.key()]
		if fine := u.Fixture == "fine"; fine != (r.Exit == 0) ||
			!fine && (r.Exit != flow.ExitUsage || !strings.Contains(r.Why, "refused by a: ")) {
			t.Errorf("%s: %+v", u.Fixture, r)
		}
	}
	l.wait("an empty queue", func() bool { return l.queued(b) == 0 })
}

// tarOf returns a packed run directory with one entry.
func tarOf(t testing.TB, h tar.Header, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	tw := tar.NewWriter(gz)
	h.Mode = 0o644
	if h.Size == 0 {
		h.Size = int64(len(text))
	}
	if err := tw.WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(tw, text) // may be shorter than the size in the header
	_ = tw.Close()
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// zeros returns a packed run directory with files of zeros. It is much smaller than its files.
func zeros(t *testing.T, files int, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	tw := tar.NewWriter(gz)
	for i := range files {
		h := tar.Header{Name: fmt.Sprint(i), Typeflag: tar.TypeReg, Size: size, Mode: 0o644}
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), gz.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUnpack(t *testing.T) {
	for name, h := range map[string]tar.Header{
		"the way up":       {Name: "../x", Typeflag: tar.TypeReg},
		"an absolute path": {Name: "/tmp/x", Typeflag: tar.TypeReg},
		"a link":           {Name: "x", Typeflag: tar.TypeSymlink, Linkname: "/etc"},
		"a hard link":      {Name: "x", Typeflag: tar.TypeLink, Linkname: "y"},
		"a device":         {Name: "x", Typeflag: tar.TypeChar},
		"10 GB":            {Name: "x", Typeflag: tar.TypeReg, Size: 10 << 30},
	} {
		dir := filepath.Join(t.TempDir(), "run")
		text := "text"
		if h.Typeflag != tar.TypeReg {
			text = ""
		}
		if err := unpack(bytes.NewReader(tarOf(t, h, text)), dir, maxUnpacked); err == nil {
			t.Errorf("%s is unpacked", name)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
			t.Errorf("%s: %v is left", name, left)
		}
	}
	// Files that are larger together than the limit, with the sizes of a run directory of 10 GB
	// divided by 1000: what is on the disk stays below the limit.
	dir := filepath.Join(t.TempDir(), "run")
	if err := unpack(bytes.NewReader(zeros(t, 10, 1<<20)), dir, maxUnpacked/1000); err == nil {
		t.Error("10 files of zeros are unpacked")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != maxUnpacked/1000>>20 {
		t.Errorf("%d files are left", len(left))
	}
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "to")
	if err := os.MkdirAll(filepath.Join(from, "a/b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(from, "a/b/c"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(from, "link")); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := errors.Join(pack(from, &b), unpack(&b, to, 100)); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(to, "a/b/c")); err != nil || string(data) != "text" ||
		exists(filepath.Join(to, "link")) {
		t.Errorf("%q, %v", data, err)
	}
}

// Whatever a DUT sends, unpack writes nothing outside of its directory.
func FuzzUnpack(f *testing.F) {
	f.Add(tarOf(f, tar.Header{Name: "a/b", Typeflag: tar.TypeReg}, "x"))
	f.Add(tarOf(f, tar.Header{Name: "../b", Typeflag: tar.TypeReg}, "x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		base := t.TempDir()
		_ = unpack(bytes.NewReader(data), filepath.Join(base, "run"), 1<<16)
		if names, _ := filepath.Glob(filepath.Join(base, "*")); len(names) > 1 {
			t.Errorf("%v", names)
		}
	})
}

// A key file is either refused, or read and written again without a change.
func FuzzKey(f *testing.F) {
	k, _, err := newKey("tls://x:1", "dut", roleDUT, "")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encode(k))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := parseKey("f", data)
		if err != nil {
			return
		}
		if again, err := parseKey("f", encode(k)); err != nil || again != k {
			t.Errorf("%v: %+v", err, again)
		}
	})
}
