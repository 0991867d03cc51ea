package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"vmtb/bench"
)

// Names in the engine. Keys of values begin with their kind: "claim.RUN.UNIT", "result.RUN.UNIT",
// "extra.RUN.UNIT.ATTEMPT.DUT", "run.RUN", "dut.NAME", "standing.NAME", "key.NAME".
const (
	unitStream  = "UNITS"
	logStream   = "LOG"
	bucket      = "fleet"        // of values, and of objects: submissions and run directories
	wakeTopic   = "fleet.wake"   // agents look for work when they get this message
	loadedTopic = "fleet.loaded" // serve has loaded the keys
)

// answerTime is the limit for an answer of the engine.
const answerTime = 10 * time.Second

// A unit is the smallest part of a run that a DUT takes. It has ids and options, which agents
// check, and never a command line.
type unit struct {
	Run      string            `json:"run"`
	Name     string            `json:"name"` // hash of Fixture and Kind: a word for subjects
	Fixture  string            `json:"fixture"`
	Kind     string            `json:"kind,omitempty"` // of a run with --each-gpu: the GPU, "bmg"
	IDs      []string          `json:"ids"`
	Options  map[string]string `json:"options,omitempty"`
	Need     string            `json:"need,omitempty"`
	Deadline time.Time         `json:"deadline,omitzero"`
}

func (u unit) key() string  { return u.Run + "." + u.Name }
func (u unit) pool() string { return word(u.Need) }

// title names a unit for people.
func (u unit) title() string {
	if u.Kind != "" {
		return u.Fixture + " on " + u.Kind
	}
	return u.Fixture
}

// A claim is the lease of a unit.
type claim struct {
	DUT     string   `json:"dut"` // "" if the DUT gave the unit back
	Attempt int      `json:"attempt"`
	Lost    []string `json:"lost,omitempty"` // DUTs that had the unit and did not come back in time
}

// A result says how an attempt ended. The first result of a unit counts.
type result struct {
	Unit    string `json:"unit"`
	DUT     string `json:"dut"`
	Attempt int    `json:"attempt"`
	Object  string `json:"object,omitempty"` // "" if there is no run directory
	Exit    int    `json:"exit"`
	Why     string `json:"why,omitempty"` // why vmtb did not end by itself, for people
}

// A runInfo describes a submitted run, without its units.
type runInfo struct {
	Words     []string  `json:"selection"`
	Deadline  time.Time `json:"deadline,omitzero"`
	Cancelled bool      `json:"cancelled,omitempty"`
}

// A standing has people's decisions whether a DUT may take units. Agents read it.
type standing struct {
	Who   string    `json:"who,omitempty"`
	Until time.Time `json:"until,omitzero"` // reserved until then
	Drain bool      `json:"drain,omitempty"`
	Clear int       `json:"clear,omitempty"` // number of "vmtb-fleet repair" commands for the DUT
}

// A dutInfo is an agent's report about its DUT.
type dutInfo struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels"`
	State  string            `json:"state"` // idle, running, reserved, draining, bad
	Why    string            `json:"why,omitempty"`
	Unit   string            `json:"unit,omitempty"`
	BootID string            `json:"boot_id"`
	Seen   time.Time         `json:"seen"` // by the server's clock
}

// word returns a hash of a text that can be a word of a subject or key.
func word(s string) string {
	h := fnv.New64a()
	h.Write([]byte(s))
	return fmt.Sprintf("%016x", h.Sum64())
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,60}$`)

// checkName refuses a name that cannot be a word of a subject.
func checkName(what, name string) error {
	if !nameForm.MatchString(name) {
		return usagef("%s %q: want letters, digits, - and _", what, name)
	}
	return nil
}

func usagef(format string, args ...any) error {
	return &bench.UsageError{Err: fmt.Errorf(format, args...)}
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic("BUG: " + err.Error()) //nolint:forbidigo // our own types marshal
	}
	return data
}

// A bus is a connection to the engine.
type bus struct {
	key     key
	nc      *nats.Conn
	js      jetstream.JetStream
	kv      jetstream.KeyValue
	objects jetstream.ObjectStore
}

// dial connects with a key. The connection reconnects by itself whenever it is lost.
func dial(k key, more ...nats.Option) (*bus, error) {
	conf, err := k.tls()
	if err != nil {
		return nil, err
	}
	pair, err := nkeys.FromSeed([]byte(k.Seed))
	if err != nil {
		return nil, err
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(k.URL, append(more,
		nats.Name(k.Name), nats.Secure(conf), nats.Nkey(public, pair.Sign), nats.CustomInboxPrefix("_INBOX_"+k.Name),
		nats.MaxReconnects(-1), nats.ReconnectWait(time.Second), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectJitter(300*time.Millisecond, time.Second), nats.Timeout(answerTime))...)
	if err != nil {
		const format = "the engine at %s does not answer: %w (is \"vmtb-fleet serve\" running? is its disk full? " +
			"is the key still valid?)"
		return nil, fmt.Errorf(format, k.URL, err)
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(answerTime))
	return &bus{key: k, nc: nc, js: js}, err
}

// connect connects with a key of a person, and makes the streams and buckets that are missing.
func connect(ctx context.Context, k key, more ...nats.Option) (*bus, error) {
	b, err := dial(k, more...)
	if err != nil {
		return nil, err
	}
	if err = b.open(ctx); errors.Is(err, jetstream.ErrBucketNotFound) {
		err = errors.Join(b.create(ctx), b.open(ctx))
	}
	if err != nil {
		b.nc.Close()
	}
	return b, err
}

// open finds the buckets.
func (b *bus) open(ctx context.Context) (err error) {
	if b.objects, err = b.js.ObjectStore(ctx, bucket); err == nil {
		b.kv, err = b.js.KeyValue(ctx, bucket)
	}
	if err != nil {
		err = fmt.Errorf("the engine has no bucket %s: %w (a submit or admin key makes it)", bucket, err)
	}
	return err
}

// create makes the streams and buckets. It makes the bucket of values last: [bus.open] takes that
// bucket as the sign that all others exist.
func (b *bus) create(ctx context.Context) error {
	const month = 30 * 24 * time.Hour
	for _, c := range []jetstream.StreamConfig{
		{
			Name: unitStream, Subjects: []string{"unit.>"}, Retention: jetstream.WorkQueuePolicy,
			Duplicates: 24 * time.Hour, Discard: jetstream.DiscardNew,
		},
		{Name: logStream, Subjects: []string{"log.>"}, MaxAge: month, Duplicates: time.Hour},
	} {
		if _, err := b.js.CreateOrUpdateStream(ctx, c); err != nil {
			return fmt.Errorf("stream %s: %w", c.Name, err)
		}
	}
	objects := jetstream.ObjectStoreConfig{Bucket: bucket, TTL: month}
	if _, err := b.js.CreateOrUpdateObjectStore(ctx, objects); err != nil {
		return fmt.Errorf("object store %s: %w", bucket, err)
	}
	_, err := b.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: bucket, History: 5})
	return err
}

// get reads a value. The entry is nil if there is none.
func get[T any](ctx context.Context, b *bus, key string) (v T, entry jetstream.KeyValueEntry, err error) {
	entry, err = b.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return v, nil, nil
	}
	if err == nil {
		err = json.Unmarshal(entry.Value(), &v)
	}
	if err != nil {
		return v, nil, fmt.Errorf("read %s: %w", key, err)
	}
	return v, entry, nil
}

// swap writes a value if nobody has written it since entry was read. A nil entry means that there
// was no value. [notConflict] recognizes the error after another write.
func (b *bus) swap(ctx context.Context, key string, entry jetstream.KeyValueEntry, v any) (revision uint64, err error) {
	if entry == nil {
		return b.kv.Create(ctx, key, encode(v))
	}
	return b.kv.Update(ctx, key, encode(v), entry.Revision())
}

// notConflict returns err, or nil if err says that another write of the value came first.
func notConflict(err error) error {
	if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return nil
	}
	return err
}

// all returns all values whose keys match kind and keys, like "result.RUN.*". The keys of the map
// are without the kind.
func all[T any](ctx context.Context, b *bus, kind, keys string) (map[string]T, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*answerTime)
	defer cancel()
	w, err := b.kv.Watch(ctx, kind+"."+keys, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, err
	}
	defer w.Stop() //nolint:errcheck // the values are read, so an error does not matter
	values := map[string]T{}
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("read %s.%s: %w", kind, keys, ctx.Err())
		case e := <-w.Updates():
			if e == nil {
				return values, nil
			}
			var v T
			if err := json.Unmarshal(e.Value(), &v); err != nil {
				return nil, fmt.Errorf("read %s: %w", e.Key(), err)
			}
			values[e.Key()[len(kind)+1:]] = v
		}
	}
}

// wake makes all agents look for work at once.
func (b *bus) wake() { _ = b.nc.Publish(wakeTopic, nil) } // agents also look without it, at each beat
