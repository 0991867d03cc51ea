package env

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The last line of a console is the last one that is not blank.
func TestLastLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	if got := lastLine(path); got != "" {
		t.Errorf("without a console: %q", got)
	}
	for text, want := range map[string]string{
		"":                              "",
		"\r\n \r\n":                     "",
		"one\r\ntwo\r\n\r\n":            "two",
		"one\r\n<6>[    2.000000] half": "<6>[    2.000000] half",
		"one\r\n\x1b[0m\x1b(B\r\n":      "one",
		strings.Repeat("x", 1<<20) + "\nend\n\x1b]0;t\x07": "end",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := lastLine(path); got != want {
			t.Errorf("%.40q: %q, want %q", text, got, want)
		}
	}
}

// A wait for a guest shows its limit, and the console while it lasts.
func TestBooting(t *testing.T) {
	console := filepath.Join(t.TempDir(), "console.log")
	if err := os.WriteFile(
		console, []byte("[    1.000000] Linux\r\n\x1b[0m[    2.000000] init\r\n"), 0o600,
	); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		failure := errors.New("not ready")
		err := (&Env{Err: &said}).Booting("vm0", "booting x.img", console, 900*time.Second, func() error {
			time.Sleep(31 * time.Second)
			return failure
		})
		const want = "vm0: booting x.img (15 min at most) ...\nvm0: booting x.img (15 min at most): 30 s  [    " +
			"2.000000] init\n"
		if got := said.String(); !errors.Is(err, failure) || !strings.HasPrefix(got, want) {
			t.Errorf("%q, %v", got, err)
		}
	})
}
