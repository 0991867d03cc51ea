package flow

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// upstreamItems returns items with the ids of the Python tool.
func upstreamItems(t *testing.T) (items []Item) {
	t.Helper()
	text, err := os.ReadFile("testdata/upstream-ids.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, param, _ := strings.Cut(strings.TrimSuffix(strings.TrimSpace(line), "]"), "[")
		parts := strings.Split(strings.Replace(name, ".py", "", 1), "::")
		id := ID{File: parts[0], Case: parts[len(parts)-1], Param: param}
		if len(parts) == 3 {
			id.Class = parts[1]
		}
		items = append(items, Item{ID: id})
	}
	if len(items) != 195 {
		t.Fatalf("%d ids", len(items))
	}
	return items
}

// Shards by past durations end within 5 % of the ideal, and each item is in exactly one of them.
// The durations are random, with a spread like that of flows. Shards by name are worse: the flag
// exists for that reason.
func TestShardsByDuration(t *testing.T) {
	items := upstreamItems(t)
	rng := rand.New(rand.NewPCG(1, 2)) // the same numbers in every run
	var sumBy, sumHash float64
	const draws, duts = 50, 8
	for range draws {
		d := Durations{map[ID]time.Duration{}, map[ID]time.Duration{}}
		for _, it := range items {
			d.cases[it.ID] = time.Duration(math.Exp(3+0.8*rng.NormFloat64()) * float64(time.Second))
			d.fixtures[it.ID.Fixture()] = time.Duration(10+rng.IntN(20)) * time.Second
		}
		var total, worst, worstHash time.Duration
		var seen int
		length := func(items []Item) (sum time.Duration) {
			for _, u := range d.Units(items) {
				sum += u.Took
			}
			return sum
		}
		for i := 1; i <= duts; i++ {
			mine := Shard{i, duts}.TakeBy(d, items)
			seen += len(mine)
			total += length(mine)
			worst = max(worst, length(mine))
			worstHash = max(worstHash, length(Shard{i, duts}.Take(items)))
		}
		if seen != len(items) {
			t.Fatalf("%d of %d items", seen, len(items))
		}
		sumBy += float64(worst) * duts / float64(total) / draws
		sumHash += float64(worstHash) * duts / float64(total) / draws
	}
	t.Logf("the last of %d shards ends at %.3f of the ideal by durations, %.3f by names", duts, sumBy, sumHash)
	if sumBy > 1.05 || sumHash < 1.2 {
		t.Errorf("by durations %.3f, by names %.3f of the ideal", sumBy, sumHash)
	}
}

func TestDurations(t *testing.T) {
	first := tape{"x", "a.one a.two b.one c.one", `
		0 begin run
		1 begin set-up a.
		2 end set-up a.
		3 begin case a.one
		4 end case a.one pass
		5 end case a.two skip
		6 begin set-up b.
		7 end set-up b. error
		8 end case b.one error
		9 end run`}
	run := &RunDir{Entries: first.entries()}
	for i := range run.Entries {
		if e := &run.Entries[i]; e.Event == End && e.Phase == PhaseSetUp {
			e.Duration = 5 * time.Second
		}
		if e := &run.Entries[i]; e.Phase == PhaseCase && e.Result == Pass {
			e.Duration = 7 * time.Second
		}
	}
	d := PastDurations(run)
	var items []Item
	for _, s := range strings.Fields(first.plan) {
		items = append(items, Item{ID: tapeID(s)})
	}
	units := d.Units(items)
	got := ""
	for _, u := range units {
		got += fmt.Sprintf("%s %d %v, ", u.ID.Param, len(u.Items), u.Took)
	}
	// Without a duration, case two gets the median of the cases, 7 s; b and c get the medians, 5 s
	// and 7 s.
	if want := "a 2 19s, b 1 12s, c 1 12s, "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	slices.Reverse(units)
	LongestFirst(units)
	if units[0].ID.Param != "a" || units[1].ID.Param != "c" {
		t.Errorf("%v", units)
	}
	if a, b := (Shard{2, 3}).TakeBy(Durations{}, items), (Shard{2, 3}).Take(items); len(a) != len(b) {
		t.Errorf("without history: %v, want %v", a, b)
	}
	if _, err := ReadDurations(t.TempDir()); err == nil ||
		!strings.Contains(err.Error(), "--durations: not a run directory") {
		t.Error(err)
	}
}
