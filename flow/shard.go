package flow

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strconv"

	"vmtb/bench"
)

// A Shard is a part of what is selected: the Index-th of Count. The zero Shard is all of it.
type Shard struct{ Index, Count int }

var shardForm = regexp.MustCompile(`^([0-9]{1,6})/([0-9]{1,6})$`)

// ParseShard reads "2/3", the second of three.
func ParseShard(s string) (Shard, error) {
	if m := shardForm.FindStringSubmatch(s); m != nil {
		i, _ := strconv.Atoi(m[1]) // digits, and few
		n, _ := strconv.Atoi(m[2])
		if 1 <= i && i <= n {
			return Shard{i, n}, nil
		}
	}
	return Shard{}, &bench.UsageError{Err: fmt.Errorf("--shard %q: want i/n with 1 <= i <= n, like 2/3", s)}
}

// Take is the items of this shard. A class with a parameter, which shares a fixture, is in one
// shard, and always in the same one of so many, whatever else is selected or registered.
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
