package basic

import (
	"fmt"
	"math"
	"time"

	"vmtb/bench"
	"vmtb/bench/work"
	"vmtb/internal/prose"
)

// cycle is the duration of one repetition of [work.Preemptible] on an idle GPU.
const cycle = 10 * time.Millisecond

// Tolerances of the Python tool, as fractions.
const (
	shareTolerance = 0.1 // largest difference between machines that work at the same time
	soloTolerance  = 0.2 // largest difference from the time on an idle GPU, for work with idle neighbours
)

// unequal returns complaints about the results of machines that worked at the same time. Each ran
// repeats of [work.Preemptible]. vm0 must not be faster than an equal share allows: then it worked
// alone. It must not be slower either, and the other machines must be like it.
func unequal(results []work.WsimResult, repeats int) (complaints []string) {
	bad := func(format string, args ...any) { complaints = append(complaints, fmt.Sprintf(format, args...)) }
	n := len(results)
	first := results[0]
	alone := time.Duration(repeats) * cycle
	if least := scale(alone, (1-shareTolerance)*float64(n)); first.Elapsed <= least {
		bad(
			"vm0 took %s, less than %s: %d machines do not share the GPU", prose.Exact(first.Elapsed),
			prose.Exact(least), n,
		)
	}
	if least := (1 - shareTolerance) / cycle.Seconds() / float64(n); first.Rate <= least {
		bad("vm0 did %.3f workloads/s, less than %.3f: it got less than its share of the GPU", first.Rate, least)
	}
	for i, r := range results[1:] {
		if d := differ(r.Elapsed.Seconds(), first.Elapsed.Seconds()); d > shareTolerance {
			bad("vm%d took %s and vm0 %s: they differ by %.0f %%, more than %.0f %%",
				i+1, prose.Exact(r.Elapsed), prose.Exact(first.Elapsed), d*100, shareTolerance*100)
		}
		if d := differ(r.Rate, first.Rate); d > shareTolerance {
			bad(
				"vm%d did %.3f workloads/s and vm0 %.3f: they differ by %.0f %%, more than %.0f %%", i+1, r.Rate,
				first.Rate, d*100, shareTolerance*100,
			)
		}
	}
	return complaints
}

// startedApart returns a [bench.InfraError] if the machines may have started too far apart. Unequal
// results then say nothing about the sharing of the GPU.
func startedApart(apart time.Duration, results []work.WsimResult, repeats int) error {
	together := time.Duration(repeats) * cycle * time.Duration(len(results))
	if apart <= scale(together, shareTolerance) {
		return nil
	}
	return &bench.InfraError{
		Op: "start gem_wsim in all machines at once",
		Err: fmt.Errorf(
			"the machines may have started up to %s apart, for work of %s", prose.Exact(apart), prose.Exact(together),
		),
		Advice: "run on a less busy host, or with more work (--workload-scale)",
	}
}

// disturbed returns a complaint about the result of a machine whose neighbours used no GPU time; ""
// if there is none. The machine ran repeats of [work.Preemptible].
func disturbed(r work.WsimResult, repeats int) string {
	alone := time.Duration(repeats) * cycle
	if d := differ(r.Elapsed.Seconds(), alone.Seconds()); d > soloTolerance {
		return fmt.Sprintf("the workload took %s, which differs from %s on an idle GPU by %.0f %%, more than %.0f %%",
			prose.Exact(r.Elapsed), prose.Exact(alone), d*100, soloTolerance*100)
	}
	return ""
}

// differ returns the difference of got and want as a fraction of want.
func differ(got, want float64) float64 { return math.Abs(got-want) / want }

func scale(d time.Duration, by float64) time.Duration { return time.Duration(float64(d) * by) }
