package flow

import "vmtb/bench"

// Blame says whose fault a failure is, from the kind of its error (package bench).
type Blame string

// The kinds of package bench; an error of none of them is the flow's own finding and has Blame "".
const (
	BlameGuest Blame = "guest"
	BlameHost  Blame = "host"
	BlameInfra Blame = "infra"
	BlameUsage Blame = "usage"
)

// BlameOf is the kind of the outermost typed error in err's tree.
func BlameOf(err error) Blame {
	switch e := any(err).(type) { // walked by hand: errors.As would not say which kind comes first
	case nil:
		return ""
	case *bench.GuestError:
		return BlameGuest
	case *bench.HostError:
		return BlameHost
	case *bench.InfraError:
		return BlameInfra
	case *bench.UsageError:
		return BlameUsage
	case interface{ Unwrap() error }:
		return BlameOf(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			if b := BlameOf(err); b != "" {
				return b
			}
		}
	}
	return ""
}

// result of a case that failed with this blame: trouble of the bench, or a mistake in what the user
// asked for, says nothing about the software under test.
func (b Blame) result() Result {
	if b == BlameInfra || b == BlameUsage {
		return Error
	}
	return Fail
}
