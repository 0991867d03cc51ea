package progress

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestProgress(t *testing.T) { synctest.Test(t, testProgress) }

func testProgress(t *testing.T) {
	var out bytes.Buffer
	p := New(&out, "lab", nil)
	if err := p.Step("one", func(w io.Writer) error {
		_, err := io.WriteString(w, "noise\n")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := p.Step("two", func(io.Writer) error { return errors.New("no") }); err == nil {
		t.Error("the error is lost")
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	want := []string{"lab: one ...", "lab: one: done after 0 s", "lab: two ...", "lab: two: FAILED after 0 s"}
	if strings.Join(lines, "|") != strings.Join(want, "|") {
		t.Errorf("got %q", lines)
	}
}

// On a terminal the progress is one row and never wraps.
func TestProgressLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		columns := []int{20, 12, 0}
		p := New(&out, "lab", func() int {
			n := columns[0]
			columns = columns[1:]
			return n
		})
		err := p.Step("one", func(w io.Writer) error {
			_, err := io.WriteString(w, "a noise that is long\n")
			time.Sleep(2500 * time.Millisecond)
			return err
		})
		const want = "\r\033[Klab: one: 0 s  a no|\r\033[Klab: one: 1|\r\033[Klab: one: 2 s  a noise that is " +
			"long|\r\033[K|lab: one: done after 2.5 s\n"
		if got := out.String(); err != nil || got != strings.ReplaceAll(want, "|", "") {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestLastLine(t *testing.T) {
	var l lastLine
	for _, s := range []string{"Get:1 a", "bc\nUnpack", "\x1b[1mx", "\nrest"} {
		if _, err := io.WriteString(&l, s); err != nil {
			t.Fatal(err)
		}
	}
	if got := l.String(); got != "Unpack[1mx" {
		t.Errorf("got %q", got)
	}
}

// In a log, a long step reports its progress every half minute.
func TestProgressLongStepInLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		err := New(&out, "vm0", nil).Step("booting", func(w io.Writer) error {
			time.Sleep(20 * time.Second)
			_, err := io.WriteString(w, "[    1.0] first\n\x1b[0m[    2.0] second\n[    3.0] ha")
			time.Sleep(45 * time.Second)
			return err
		})
		const want = "vm0: booting ...\nvm0: booting: 30 s  [0m[    2.0] second\nvm0: booting: 1 min  [0m[    2.0] " +
			"second\nvm0: booting: done after 1 min 5 s\n"
		if got := out.String(); err != nil || got != want {
			t.Errorf("got %q, %v", got, err)
		}
	})
}
