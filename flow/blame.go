package flow

import "vmtb/bench"

// Blame is the owner of a failure: the kind of its error (package bench).
type Blame string

// The kinds of error in package bench. An error of no kind is a finding of the flow: its Blame is
// "".
const (
	BlameGuest Blame = "guest"
	BlameHost  Blame = "host"
	BlameInfra Blame = "infra"
	BlameUsage Blame = "usage"
)

// BlameOf returns the kind of the outermost typed error in err's tree; "" if there is none.
func BlameOf(err error) Blame {
	switch e := any(err).(type) { // not errors.As: it does not tell which kind comes first
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

// result returns the result of a case that failed with this blame. Trouble of the bench and a
// mistake of the user say nothing about the software under test: they are an Error.
func (b Blame) result() Result {
	if b == BlameInfra || b == BlameUsage {
		return Error
	}
	return Fail
}
