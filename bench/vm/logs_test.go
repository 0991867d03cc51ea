package vm

import (
	"bytes"
	"strings"
	"testing"
)

// A full log ends with a line that reports this, and ignores further data.
func TestCappedLog(t *testing.T) {
	var b bytes.Buffer
	l := &cappedLog{w: &b, left: 10, note: "[cut]\n"}
	for _, p := range []string{"12345\n", "1234", "", "\n", "more\n"} {
		if n, err := l.Write([]byte(p)); n != len(p) || err != nil {
			t.Errorf("%q: %d, %v", p, n, err)
		}
	}
	if want := "12345\n1234[cut]\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
	if strings.Count(b.String(), "[cut]") != 1 {
		t.Error("it says so more than once")
	}
}
