package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
)

// serveOptions are the flags of "vmtb-fleet serve".
type serveOptions struct {
	dir, listen, url string
	maxStore         int64 // bytes; 0 is the space on the disk
}

// An enrolled is the public half of a key. The engine stores it.
type enrolled struct {
	Role   string `json:"role"`
	Public string `json:"public"`
}

// serve runs the embedded NATS server until ctx ends. The server stores the public keys of its
// users as values. When a value changes, serve reloads the server.
func serve(ctx context.Context, o serveOptions, out io.Writer) error {
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return err
	}
	cert, ca, err := certificate(o.dir)
	if err != nil {
		return err
	}
	k, first, err := adminKey(o, ca)
	if err != nil {
		return err
	}
	users := map[string]enrolled{}
	if users[roleAdmin], err = k.enrolled(); err != nil {
		return err
	}
	for {
		err := o.engine(ctx, k, cert, users, func() {
			fmt.Fprintf(out, "serving %s, state in %s\n", o.url, o.dir)
			if first {
				const text = "first start: the key of the administrator is %s. Next: vmtb-fleet enroll NAME --key=%[1]s"
				fmt.Fprintf(out, text+"\n", o.adminKey())
			}
		})
		if !errors.Is(err, errFull) {
			return err
		}
		first = false
		fmt.Fprintf(out, "%v: %s. The engine starts again when there is space\n", err, o.dir)
		await(ctx, func() bool { return o.hasSpace(10, 1<<30) })
	}
}

var errFull = errors.New("the disk is full")

// engine runs the NATS server until ctx ends. It calls ready when clients can connect. When the disk
// is nearly full, engine returns errFull: after a failed write, the server would not write to that
// stream again, and its clients would only see timeouts.
func (o serveOptions) engine(
	ctx context.Context, k key, cert tls.Certificate, users map[string]enrolled, ready func(),
) error {
	options, err := o.server(cert, users)
	if err != nil {
		return err
	}
	s, err := server.NewServer(options)
	if err != nil {
		return err
	}
	s.Start()
	defer func() { s.Shutdown(); s.WaitForShutdown() }()
	if !s.ReadyForConnections(30 * time.Second) {
		return fmt.Errorf("the engine was not ready within 30 s: does another process use %s?", o.listen)
	}
	b, err := connect(ctx, k, nats.InProcessServer(s))
	if err != nil {
		return err
	}
	defer b.nc.Close()
	ready()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		await(ctx, func() bool { return !s.JetStreamEnabled() || !o.hasSpace(50, 64<<20) })
		stop(errFull)
	}()
	err = b.follow(ctx, users, func() error {
		options, err := o.server(cert, users)
		if err == nil {
			err = s.ReloadOptions(options) // closes the connections of revoked users
		}
		return err
	})
	if errors.Is(context.Cause(ctx), errFull) {
		return errFull
	}
	return err
}

// hasSpace reports whether a part of the disk (1/part), or enough bytes, are free.
func (o serveOptions) hasSpace(part, enough uint64) bool {
	var d syscall.Statfs_t
	err := syscall.Statfs(o.dir, &d)
	size := uint64(d.Bsize)
	return err != nil || d.Bavail*size >= min(d.Blocks*size/part, enough)
}

// await waits until a condition is true, or ctx ends.
func await(ctx context.Context, so func() bool) {
	for !so() && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// follow updates users from the keys in the engine, and calls changed after each change.
func (b *bus) follow(ctx context.Context, users map[string]enrolled, changed func() error) error {
	w, err := b.kv.Watch(ctx, "key.*")
	if err != nil {
		return err
	}
	defer w.Stop() //nolint:errcheck // it ends with the connection
	for read := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case e := <-w.Updates():
			var u enrolled
			switch {
			case e == nil: // all existing keys are read
				read = true
			case e.Operation() == jetstream.KeyValuePut && json.Unmarshal(e.Value(), &u) == nil:
				users[e.Key()[len("key."):]] = u
			default:
				delete(users, e.Key()[len("key."):])
			}
			if !read {
				continue
			}
			if err := changed(); err != nil {
				return fmt.Errorf("load the keys: %w", err)
			}
			_ = b.nc.Publish(loadedTopic, nil) // enroll waits for this message
		}
	}
}

func (o serveOptions) adminKey() string { return filepath.Join(o.dir, "admin.key") }

// adminKey reads the key of the administrator, or makes it at the first start. It stores the
// engine's current address in the key.
func adminKey(o serveOptions, ca string) (k key, first bool, err error) {
	_, err = os.Stat(o.adminKey())
	if first = errors.Is(err, fs.ErrNotExist); first {
		k, _, err = newKey(o.url, roleAdmin, roleAdmin, ca)
	} else {
		k, err = readKey(o.adminKey())
	}
	if err != nil {
		return k, first, err
	}
	k.URL, k.CA = o.url, ca
	return k, first, k.write(o.adminKey())
}

// enrolled returns the public half of the key.
func (k key) enrolled() (enrolled, error) {
	pair, err := nkeys.FromSeed([]byte(k.Seed))
	if err != nil {
		return enrolled{}, err
	}
	public, err := pair.PublicKey()
	return enrolled{k.Role, public}, err
}

// server returns the options of the NATS server.
func (o serveOptions) server(cert tls.Certificate, users map[string]enrolled) (*server.Options, error) {
	host, port, err := net.SplitHostPort(o.listen)
	n, portErr := strconv.Atoi(port)
	if err != nil || portErr != nil {
		return nil, usagef("--listen=%s: want HOST:PORT", o.listen)
	}
	s := &server.Options{
		ServerName: serverName, Host: host, Port: n, NoSigs: true, NoLog: true, DisableShortFirstPing: true,
		JetStream: true, StoreDir: filepath.Join(o.dir, "store"), JetStreamMaxStore: o.maxStore,
		SyncAlways: true, // a write is on the disk before it is acknowledged: the default syncs every 2 minutes
		TLS:        true, TLSTimeout: answerTime.Seconds(),
		TLSConfig:  &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13},
		MaxPayload: 8 << 20, // a journal's line may have several texts of 64 KiB
	}
	for name, u := range users {
		s.Nkeys = append(s.Nkeys, &server.NkeyUser{Nkey: u.Public, Permissions: permissions(name, u.Role)})
	}
	return s, nil
}

// permissions returns the subjects that a key may use; nil means all. A DUT may write only its own
// subjects, and values that compare-and-set protects.
func permissions(name, role string) *server.Permissions {
	values, objects := "KV_"+bucket, "OBJ_"+bucket
	p := &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{"$JS.API.INFO", wakeTopic, "$O." + bucket + ".>"}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_" + name + ".>", wakeTopic}},
	}
	may := func(format string, names ...string) {
		for _, n := range names {
			p.Publish.Allow = append(p.Publish.Allow, fmt.Sprintf(format, n))
		}
	}
	may("$JS.API.STREAM.INFO.%s", values, objects, unitStream)
	may("$JS.API.STREAM.MSG.GET.%s", values, objects)
	may("$JS.API.DIRECT.GET.%s.>", values, objects)
	switch role {
	case roleAdmin:
		return nil
	case roleSubmit:
		may("$JS.API.CONSUMER.>")
		may("$JS.API.STREAM.%s", "INFO."+logStream, "NAMES", "PURGE."+unitStream)
		may("$JS.%s", "ACK.>", "FC.>")
		may("$KV."+bucket+".%s.>", "run", "result")
		may("unit.>")
	case roleDUT:
		may("$JS.API.CONSUMER.%s", "LIST."+unitStream, "INFO."+unitStream+".*", "MSG.NEXT."+unitStream+".*")
		may("$JS.ACK.%s.>", unitStream)
		may("$KV."+bucket+".%s", "claim.>", "result.>", "extra.>", "dut."+name)
		may("log.%s.>", name)
	}
	return p
}

// enroll makes a key for a DUT or a person, and writes it to a file. The engine gets the public
// half only.
func enroll(ctx context.Context, b *bus, name, role, file string) error {
	if err := checkName("name", name); err != nil || name == roleAdmin {
		return errors.Join(err, usagef("%s is not a name for a new key", name))
	}
	if role != roleDUT && role != roleSubmit && role != roleAdmin {
		return usagef("--role=%s: want dut, submit or admin", role)
	}
	if _, err := os.Stat(file); err == nil {
		return usagef("%s exists already", file)
	}
	k, public, err := newKey(b.key.URL, name, role, b.key.CA)
	if err != nil {
		return err
	}
	loaded := make(chan *nats.Msg, 16)
	sub, err := b.nc.ChanSubscribe(loadedTopic, loaded)
	if err == nil {
		defer sub.Unsubscribe() //nolint:errcheck // it ends with the connection
		err = b.nc.Flush()      // the subscription must be active before the key is stored
	}
	if err != nil {
		return err
	}
	_, err = b.kv.Create(ctx, "key."+name, encode(enrolled{role, public}))
	if errors.Is(err, jetstream.ErrKeyExists) {
		return fmt.Errorf("%s has a key already: revoke it first", name)
	}
	if err == nil {
		err = k.write(file)
	}
	if err != nil {
		return err
	}
	return k.awaitLoaded(ctx, loaded)
}

// awaitLoaded waits until the engine accepts the key. loaded gets a message after each reload of
// the engine's keys.
func (k key) awaitLoaded(ctx context.Context, loaded <-chan *nats.Msg) error {
	limit := time.After(answerTime)
	for {
		c, err := dial(k)
		if err == nil {
			c.nc.Close()
			return nil
		}
		select {
		case <-loaded:
		case <-ctx.Done():
			return ctx.Err()
		case <-limit:
			const text = "the engine does not take the key (a NATS of your own has keys in its configuration): %w"
			return fmt.Errorf(text, err)
		}
	}
}

// revoke deletes a key. "vmtb-fleet serve" closes its connections.
func (b *bus) revoke(ctx context.Context, name string) error {
	_, e, err := get[enrolled](ctx, b, "key."+name)
	if err == nil && e == nil {
		err = usagef("%s has no key that can be revoked", name)
	}
	if err != nil {
		return err
	}
	return b.kv.Delete(ctx, "key."+name)
}
