package flow

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strconv"

	"vmtb/bench"
)

// A Shard is the Index-th of Count parts of a selection, from 1. The zero Shard is the whole
// selection.
type Shard struct{ Index, Count int }

var shardForm = regexp.MustCompile(`^([0-9]{1,6})/([0-9]{1,6})$`)

// ParseShard parses "2/3", the second of three. A mistake is a [bench.UsageError].
func ParseShard(s string) (Shard, error) {
	if m := shardForm.FindStringSubmatch(s); m != nil {
		i, _ := strconv.Atoi(m[1]) // cannot fail: at most six digits
		n, _ := strconv.Atoi(m[2])
		if 1 <= i && i <= n {
			return Shard{i, n}, nil
		}
	}
	return Shard{}, &bench.UsageError{Err: fmt.Errorf("--shard %q: want i/n with 1 <= i <= n, like 2/3", s)}
}

// Take returns the items of this shard. A class with one parameter shares a fixture, so all of it
// is in one shard. Which shard depends only on its id and Count, not on the rest of the selection.
func (s Shard) Take(items []Item) []Item {
	if s.Count == 0 {
		return items
	}
	return slices.DeleteFunc(slices.Clone(items), func(it Item) bool {
		h := fnv.New64a()
		h.Write([]byte(it.ID.Fixture().String()))
		return int(h.Sum64()%uint64(s.Count)) != s.Index-1
	})
}
