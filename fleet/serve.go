package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// serveOptions are the flags of "vmtb-fleet serve".
type serveOptions struct {
	dir, listen, url string
	maxStore         int64 // bytes; 0 is what the disk has
}

// An engine is the embedded NATS server with its users.
type engine struct {
	serveOptions
	cert tls.Certificate
	ca   string

	mu     sync.Mutex
	users  []enrolled
	server *server.Server
}

// An enrolled key: its secret is its owner's alone.
type enrolled struct {
	Name   string `json:"name"`
	Role   string `json:"role"`
	Public string `json:"public"`
}

// startEngine starts the server on the state in o.dir, which the first start makes.
func startEngine(o serveOptions) (*engine, error) {
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return nil, err
	}
	e := &engine{serveOptions: o}
	var err error
	if e.cert, e.ca, err = certificate(o.dir); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(e.usersFile())
	switch {
	case errors.Is(err, os.ErrNotExist):
		err = e.firstStart()
	case err == nil:
		err = json.Unmarshal(data, &e.users)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.usersFile(), err)
	}
	options, err := e.options()
	if err != nil {
		return nil, err
	}
	if e.server, err = server.NewServer(options); err != nil {
		return nil, err
	}
	e.server.Start()
	if !e.server.ReadyForConnections(30 * time.Second) {
		e.server.Shutdown()
		return nil, fmt.Errorf("the engine is not ready within 30 s: is %s in use by another?", o.listen)
	}
	return e, nil
}

func (e *engine) usersFile() string { return filepath.Join(e.dir, "users.json") }
func (e *engine) adminKey() string  { return filepath.Join(e.dir, "admin.key") }

// firstStart makes the key of the administrator.
func (e *engine) firstStart() error {
	k, public, err := newKey(e.url, roleAdmin, roleAdmin, e.ca)
	if err != nil {
		return err
	}
	if err := k.write(e.adminKey()); err != nil {
		return err
	}
	e.users = []enrolled{{roleAdmin, roleAdmin, public}}
	return writeFile(e.usersFile(), encode(e.users), 0o600)
}

func (e *engine) options() (*server.Options, error) {
	host, port, err := net.SplitHostPort(e.listen)
	if err != nil {
		return nil, usagef("--listen=%s: %v", e.listen, err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, usagef("--listen=%s: want HOST:PORT", e.listen)
	}
	o := &server.Options{
		ServerName: serverName, Host: host, Port: n, NoSigs: true, NoLog: true, DisableShortFirstPing: true,
		JetStream: true, StoreDir: filepath.Join(e.dir, "store"), JetStreamMaxStore: e.maxStore,
		SyncAlways: true, // what was acknowledged is on the disk: the default syncs every 2 minutes
		TLS:        true, TLSTimeout: answerTime.Seconds(),
		TLSConfig:  &tls.Config{Certificates: []tls.Certificate{e.cert}, MinVersion: tls.VersionTLS13},
		MaxPayload: 8 << 20, // a journal's line may have several texts of 64 KiB
	}
	for _, u := range e.users {
		o.Nkeys = append(o.Nkeys, &server.NkeyUser{Nkey: u.Public, Permissions: permissions(u)})
	}
	return o, nil
}

// permissions are the subjects that a key may use; nil is all. A DUT may write only what is its
// own, or what compare-and-set guards.
func permissions(u enrolled) *server.Permissions {
	inbox := "_INBOX_" + u.Name + ".>"
	switch u.Role {
	case roleAdmin:
		return nil
	case roleSubmit:
		return &server.Permissions{
			Publish: &server.SubjectPermission{
				Allow: []string{"$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "unit.>", "$KV.runs.>", "$KV.pools.>", "$KV.results.>", "$O.runs.>", wakeTopic},
				Deny:  []string{"$JS.API.STREAM.DELETE.>", "$JS.API.STREAM.UPDATE.>", "$JS.API.STREAM.MSG.DELETE.>"},
			},
			Subscribe: &server.SubjectPermission{Allow: []string{inbox}},
		}
	}
	var allow []string
	for _, bucket := range []string{"KV_claims", "KV_results", "KV_runs", "KV_duts", "KV_standing", "KV_pools", "OBJ_runs"} {
		allow = append(allow, "$JS.API.STREAM.INFO."+bucket, "$JS.API.DIRECT.GET."+bucket+".>", "$JS.API.STREAM.MSG.GET."+bucket)
	}
	allow = append(allow, "$JS.API.INFO", "$JS.API.CONSUMER.INFO.UNITS.*", "$JS.API.CONSUMER.MSG.NEXT.UNITS.*", "$JS.ACK.UNITS.>",
		"$KV.claims.>", "$KV.results.>", "$KV.duts."+u.Name, "$O.runs.>", "log."+u.Name+".>", wakeTopic)
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: allow},
		Subscribe: &server.SubjectPermission{Allow: []string{inbox, wakeTopic}},
	}
}

// An adminRequest is what "enroll" and "revoke" ask of "serve".
type adminRequest struct {
	Enroll *enrolled `json:"enroll,omitempty"`
	Revoke string    `json:"revoke,omitempty"`
}

type adminReply struct {
	Error string `json:"error,omitempty"`
	URL   string `json:"url,omitempty"`
	CA    string `json:"ca,omitempty"`
}

// change changes the keys, on disk first, and closes the connections of those that are revoked.
func (e *engine) change(r adminRequest) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	users := slices.Clone(e.users)
	at := func(name string) int { return slices.IndexFunc(users, func(u enrolled) bool { return u.Name == name }) }
	switch {
	case r.Enroll != nil:
		if err := checkName("name", r.Enroll.Name); err != nil {
			return err
		}
		if at(r.Enroll.Name) >= 0 {
			return fmt.Errorf("%s has a key already: revoke it first", r.Enroll.Name)
		}
		users = append(users, *r.Enroll)
	case r.Revoke == roleAdmin:
		return errors.New("the key of the administrator stays: remove users.json on the server to begin anew")
	default:
		i := at(r.Revoke)
		if i < 0 {
			return fmt.Errorf("%s has no key", r.Revoke)
		}
		users = slices.Delete(users, i, i+1)
	}
	before := e.users
	e.users = users
	options, err := e.options()
	if err == nil {
		err = writeFile(e.usersFile(), encode(users), 0o600)
	}
	if err == nil {
		err = e.server.ReloadOptions(options)
	}
	if err != nil {
		e.users = before
	}
	return err
}

// serve runs the engine until ctx ends.
func serve(ctx context.Context, o serveOptions, out io.Writer) error {
	_, statErr := os.Stat(filepath.Join(o.dir, "users.json"))
	e, err := startEngine(o)
	if err != nil {
		return err
	}
	defer func() { e.server.Shutdown(); e.server.WaitForShutdown() }()
	k, err := readKey(e.adminKey())
	if err != nil {
		return err
	}
	b, err := connect(ctx, k, false, nats.InProcessServer(e.server))
	if err != nil {
		return err
	}
	defer b.nc.Close()
	_, err = b.nc.Subscribe(adminTopic, func(m *nats.Msg) {
		var r adminRequest
		err := json.Unmarshal(m.Data, &r)
		if err == nil {
			err = e.change(r)
		}
		reply := adminReply{URL: e.url, CA: e.ca}
		if err != nil {
			reply.Error = err.Error()
		}
		_ = m.Respond(encode(reply)) // who asked may be gone
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "serving %s, state in %s\n", e.url, e.dir)
	if errors.Is(statErr, os.ErrNotExist) {
		fmt.Fprintf(out, "first start: the key of the administrator is %s. Next: vmtb-fleet enroll NAME --key=%[1]s\n", e.adminKey())
	}
	<-ctx.Done()
	return nil
}

// request asks "serve" to change keys.
func (b *bus) request(r adminRequest) (reply adminReply, err error) {
	m, err := b.nc.Request(adminTopic, encode(r), answerTime)
	if errors.Is(err, nats.ErrNoResponders) {
		return reply, errors.New("no \"vmtb-fleet serve\" runs there: keys of a NATS of your own are made in its configuration")
	}
	if err == nil {
		err = json.Unmarshal(m.Data, &reply)
	}
	if err == nil && reply.Error != "" {
		err = errors.New(reply.Error)
	}
	return reply, err
}

// enroll makes a key for a DUT or a submitter, and writes it to a file. The secret does not leave
// this machine but in that file.
func enroll(b *bus, name, role, file string) error {
	if err := checkName("name", name); err != nil {
		return err
	}
	if role != roleDUT && role != roleSubmit && role != roleAdmin {
		return usagef("--role=%s: want dut, submit or admin", role)
	}
	if _, err := os.Stat(file); err == nil {
		return usagef("%s is there already", file)
	}
	k, public, err := newKey("", name, role, "")
	if err != nil {
		return err
	}
	reply, err := b.request(adminRequest{Enroll: &enrolled{name, role, public}})
	if err != nil {
		return err
	}
	k.URL, k.CA = reply.URL, reply.CA
	return k.write(file)
}

// setStanding changes whether a DUT may take units.
func (b *bus) setStanding(ctx context.Context, dut string, change func(*standing)) error {
	if err := checkName("DUT", dut); err != nil {
		return err
	}
	if _, _, ok, err := get[dutInfo](ctx, b.duts, dut); err != nil || !ok {
		if err == nil {
			err = usagef("there is no DUT %s: \"vmtb-fleet duts\" lists them", dut)
		}
		return err
	}
	for {
		s, entry, ok, err := get[standing](ctx, b.standings, dut)
		if err != nil {
			return err
		}
		change(&s)
		if ok {
			_, err = b.standings.Update(ctx, dut, encode(s), entry.Revision())
		} else {
			_, err = b.standings.Create(ctx, dut, encode(s))
		}
		if err == nil {
			b.wake()
		}
		if !errors.Is(err, jetstream.ErrKeyExists) { // else somebody was faster
			return err
		}
	}
}
