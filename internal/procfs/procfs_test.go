package procfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"
)

const tail = " S 1 12 12 0 -1 4194560 1 0 0 0 30 12 0 0 20 0 1 0 777 0 0"

func TestParseStat(t *testing.T) {
	for comm, state := range map[string]string{"sh": "S", "a) b (c": "S", "": "Z", "(((": "D", ")))": "x"} {
		got, err := ParseStat("12 (" + comm + ")" + strings.Replace(tail, "S", state, 1))
		if want := (Stat{12, comm, state[0], 42, 777}); err != nil || got != want {
			t.Errorf("comm %q: %+v, %v, want %+v", comm, got, err, want)
		}
		if dead := state == "Z" || state == "x"; got.Dead() != dead || got.CPU() != 420*time.Millisecond {
			t.Errorf("state %s: dead %v, %v of CPU", state, got.Dead(), got.CPU())
		}
	}
	for _, bad := range []string{
		"", "1", "1 (a", "1 )a(", "(a)" + tail, "x (a)" + tail, "0 (a)" + tail, "-3 (a)" + tail, "1 (a) S 1",
		"1 (a) SS" + tail[2:],
		"1 (a)" + strings.Replace(tail, "777", "-7", 1),
		"1 (a)" + strings.Replace(tail, "777", "18446744073709551616", 1),
	} {
		if got, err := ParseStat(bad); err == nil {
			t.Errorf("ParseStat(%q) = %+v, want an error", bad, got)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add("12 (a) b (c)" + tail)
	f.Add("1 (a")
	f.Add(") (" + tail)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseStat(text)
		if err != nil {
			return
		}
		again, err := ParseStat(
			fmt.Sprintf(
				"%d (%s) %c 1 12 12 0 -1 0 0 0 0 0 %d 0 0 0 20 0 1 0 %d 0", s.PID, s.Comm, s.State, s.CPUTicks,
				s.StartTime,
			),
		)
		if err != nil || again != s {
			t.Errorf("%q is %+v, written again it is %+v, %v", text, s, again, err)
		}
	})
}

func TestThisHost(t *testing.T) {
	s, err := Self()
	if err != nil || s.PID != os.Getpid() || s.Comm == "" || s.StartTime == 0 || s.Dead() {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := Read(1 << 30); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such process: %v", err)
	}
	if id, err := BootID(); err != nil || len(id) != 36 {
		t.Errorf("boot id %q, %v", id, err)
	}
}
