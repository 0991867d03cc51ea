package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
)

// Names in the engine.
const (
	unitStream = "UNITS"
	logStream  = "LOG"
	wakeTopic  = "fleet.wake"  // something has changed that agents look at
	adminTopic = "fleet.admin" // requests to "vmtb-fleet serve"

	bucketClaims   = "claims"
	bucketResults  = "results"
	bucketRuns     = "runs"
	bucketDUTs     = "duts"
	bucketStanding = "standing"
	bucketPools    = "pools"
	bucketObjects  = "runs" // of objects
	allPools       = "all"  // the only key of pools: a map of pool to requirement
)

// answerTime bounds a question to the engine.
const answerTime = 10 * time.Second

// A bus is a connection to the engine.
type bus struct {
	nc                                            *nats.Conn
	js                                            jetstream.JetStream
	claims, results, runs, duts, standings, pools jetstream.KeyValue
	objects                                       jetstream.ObjectStore
}

// connect connects with a key. An agent waits for an engine that is not there (patient); for others
// that is an error.
func connect(ctx context.Context, k key, patient bool, more ...nats.Option) (*bus, error) {
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
	options := append([]nats.Option{
		nats.Name(k.Name), nats.Secure(conf), nats.Nkey(public, pair.Sign), nats.CustomInboxPrefix("_INBOX_" + k.Name),
		nats.MaxReconnects(-1), nats.ReconnectWait(time.Second), nats.ReconnectJitter(300*time.Millisecond, time.Second),
		nats.IgnoreAuthErrorAbort(), nats.Timeout(answerTime),
	}, more...)
	for {
		nc, err := nats.Connect(k.URL, options...)
		if err == nil {
			b, err := open(ctx, nc, k.Role != roleDUT)
			if err == nil || !patient {
				if err != nil {
					nc.Close()
				}
				return b, err
			}
			nc.Close()
		} else if !patient {
			return nil, fmt.Errorf("the engine at %s does not answer: %w (does \"vmtb-fleet serve\" run? is the key still good?)", k.URL, err)
		}
		select { // there is no event for an engine that comes up
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(time.Second):
		}
	}
}

// open finds what is kept in the engine, or makes it.
func open(ctx context.Context, nc *nats.Conn, create bool) (*bus, error) {
	b := &bus{nc: nc}
	var err error
	if b.js, err = jetstream.New(nc); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if create {
		if err := b.create(ctx); err != nil {
			return nil, err
		}
	}
	for name, at := range b.buckets() {
		if *at, err = b.js.KeyValue(ctx, name); err != nil {
			return nil, fmt.Errorf("the engine has no bucket %s: %w (a submit or admin key makes it)", name, err)
		}
	}
	b.objects, err = b.js.ObjectStore(ctx, bucketObjects)
	return b, err
}

func (b *bus) buckets() map[string]*jetstream.KeyValue {
	return map[string]*jetstream.KeyValue{
		bucketClaims: &b.claims, bucketResults: &b.results, bucketRuns: &b.runs, bucketDUTs: &b.duts, bucketStanding: &b.standings,
		bucketPools: &b.pools,
	}
}

const month = 30 * 24 * time.Hour

// create makes streams and buckets that are not there. Those that are there stay as somebody has
// set them.
func (b *bus) create(ctx context.Context) error {
	for _, c := range []jetstream.StreamConfig{
		{Name: unitStream, Subjects: []string{"unit.>"}, Retention: jetstream.WorkQueuePolicy, Duplicates: 24 * time.Hour, Discard: jetstream.DiscardNew},
		{Name: logStream, Subjects: []string{"log.>"}, MaxAge: month, Duplicates: time.Hour},
	} {
		if _, err := b.js.CreateStream(ctx, c); err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return fmt.Errorf("stream %s: %w", c.Name, err)
		}
	}
	for name := range b.buckets() {
		if _, err := b.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: name, History: 5}); err != nil && !errors.Is(err, jetstream.ErrBucketExists) {
			return fmt.Errorf("bucket %s: %w", name, err)
		}
	}
	_, err := b.js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: bucketObjects, TTL: month})
	if err != nil && !errors.Is(err, jetstream.ErrBucketExists) {
		return fmt.Errorf("objects: %w", err)
	}
	return nil
}

// get reads a value. ok is false if there is none.
func get[T any](ctx context.Context, kv jetstream.KeyValue, key string) (v T, entry jetstream.KeyValueEntry, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	entry, err = kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return v, nil, false, nil
	}
	if err != nil {
		return v, nil, false, fmt.Errorf("%s %s: %w", kv.Bucket(), key, err)
	}
	if err := json.Unmarshal(entry.Value(), &v); err != nil {
		return v, nil, false, fmt.Errorf("%s %s: %w", kv.Bucket(), key, err)
	}
	return v, entry, true, nil
}

// all reads all values whose keys match, "run.*".
func all[T any](ctx context.Context, kv jetstream.KeyValue, keys string) (map[string]T, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*answerTime)
	defer cancel()
	w, err := kv.Watch(ctx, keys, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, err
	}
	defer w.Stop() //nolint:errcheck // it is read to its end
	values := map[string]T{}
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s %s: %w", kv.Bucket(), keys, ctx.Err())
		case e := <-w.Updates():
			if e == nil {
				return values, nil
			}
			var v T
			if err := json.Unmarshal(e.Value(), &v); err != nil {
				return nil, fmt.Errorf("%s %s: %w", kv.Bucket(), e.Key(), err)
			}
			values[e.Key()] = v
		}
	}
}

// wake has agents look at once.
func (b *bus) wake() { _ = b.nc.Publish(wakeTopic, nil) } // they look by themselves, too
