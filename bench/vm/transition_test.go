package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"vmtb/bench"
	"vmtb/internal/prose"
)

// docs describe every transition, with its deadline and its proof.
func TestStatesDoc(t *testing.T) {
	const file = "../../docs/machine-states.md"
	const begin, end = "<!-- transitions -->\n", "<!-- end -->\n"
	data, err := os.ReadFile(file)
	must(t, err)
	head, rest, ok := strings.Cut(string(data), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the transitions", file)
	}
	want := head + begin + transitionTable() + end + tail
	if *update {
		must(t, os.WriteFile(file, []byte(want), 0o644))
		return
	}
	if diff := cmp.Diff(string(data), want); diff != "" {
		t.Errorf("%s is not the table of transitions: go test ./bench/vm -update (-file +table):\n%s", file, diff)
	}
}

func transitionTable() string {
	var b strings.Builder
	b.WriteString("| Method | From | To | Deadline | Asked | Proof |\n|---|---|---|---|---|---|\n")
	for _, t := range Transitions() {
		from := make([]string, len(t.From))
		for i, s := range t.From {
			from[i] = string(s)
		}
		to, limit := string(t.To), prose.Exact(t.Limit)
		if slices.Contains(t.From, t.To) && t.To == Running {
			to = "running, another boot"
		}
		if t.To == Saving || t.To == Restoring {
			to += ", then as before"
		}
		if t.Moves {
			limit += " + state"
		}
		fmt.Fprintf(
			&b, "| `%s` | %s | %s | %s | %s | %s |\n", t.Name, strings.Join(from, ", "), to, limit, t.How, t.Proof,
		)
	}
	return b.String()
}

func TestTransitionsOfFake(t *testing.T) {
	m := bootFake(t, "acpi")
	ctx := t.Context()
	at := new(StateError)
	if err := m.Power().Wake(ctx); !errors.As(err, &at) || at.Seen != Running ||
		!slices.Equal(at.Want, []State{Suspended}) {
		t.Errorf("woken while it runs: %v", err)
	}
	must(t, m.Power().Pause(ctx))
	if s, err := m.State(ctx); s != Paused || err != nil {
		t.Errorf("%q, %v, want paused", s, err)
	}
	if _, err := m.ReadFile(ctx, "/x"); !errors.As(err, &at) || at.Seen != Paused {
		t.Errorf("asked while it is paused: %v", err)
	}
	must(t, m.Power().Resume(ctx))
	must(t, m.Power().Quit(ctx))
	if s, err := m.State(ctx); s != Off || err != nil {
		t.Errorf("%q, %v, want off", s, err)
	}
	if err := m.Power().Pause(ctx); !errors.Is(err, ErrOff) {
		t.Errorf("paused when it was off: %v", err)
	}
}

// If QEMU accepts a transition and does not make it, the call fails at its deadline. The error has
// the state that was seen instead.
func TestTransitionLate(t *testing.T) {
	m := bootFake(t, "ignores-stop")
	m.life.scale = 0.01
	err := m.Power().Pause(t.Context())
	at := new(StateError)
	if !errors.As(err, &at) || at.Seen != Running || !errors.Is(err, context.DeadlineExceeded) ||
		!errors.As(err, new(*bench.GuestError)) ||
		!strings.Contains(err.Error(), "not within 300 ms") {
		t.Errorf("%T %v, want a GuestError at the deadline with the state seen", err, err)
	}
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := m.Power().Pause(ctx); !errors.Is(err, why) {
		t.Errorf("cancelled: %v", err)
	}
}

// If QEMU is killed in any state, calls that are under way fail with the reason, and nothing is
// left.
func TestKilledIn(t *testing.T) {
	for _, state := range []State{Running, Paused, Suspended} {
		t.Run(string(state), func(t *testing.T) {
			m := bootFake(t, "sleeps")
			switch state {
			case Paused:
				must(t, m.Power().Pause(t.Context()))
			case Suspended:
				must(t, m.qmp.Execute(t.Context(), "fake-sleep", nil, nil))
			}
			must(t, m.reachNow(t, state))
			m.proc.Kill() // like the OOM killer: unexpected
			select {
			case <-m.life.ctx.Done():
			case <-time.After(time.Minute):
				t.Fatal("the machine lives on")
			}
			if s, err := m.State(t.Context()); s != Gone || err != nil {
				t.Errorf("%q, %v, want gone", s, err)
			}
			for name, err := range map[string]error{
				"pause": m.Power().Pause(t.Context()), "resume": m.Power().Resume(t.Context()),
				"wake": m.Power().Wake(t.Context()), "save": m.Snapshots().Save(t.Context(), "x"),
			} {
				if !errors.As(err, new(*bench.InfraError)) && !errors.As(err, new(*bench.UsageError)) {
					t.Errorf("%s: %T %v, want an InfraError", name, err, err)
				}
			}
		})
	}
}

func (m *VM) reachNow(t *testing.T, want State) error {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := m.states.reach(ctx, "test", want)
	return err
}

func TestBlockedError(t *testing.T) {
	m := bootFake(t, "blocked acpi")
	m.spec.Disks = []Disk{{Image: "/dev/null", Format: "qcow2", Access: Direct}}
	err := m.Snapshots().Save(t.Context(), "x")
	if at := new(BlockedError); !errors.As(err, &at) || !errors.Is(err, bench.ErrNotAvailable) ||
		!strings.Contains(err.Error(), "vendor VFIO driver") {
		t.Errorf("%T %v, want a BlockedError with advice", err, err)
	}
	if s, err := m.State(t.Context()); s != Running || err != nil {
		t.Errorf("%q, %v, want running", s, err)
	}
}
