package lab

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// Data that are written to a followed file arrive completely and in order, even the last data
// before the writer ends.
func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	var mu sync.Mutex
	var got bytes.Buffer
	arrived := make(chan struct{}, 1000)
	f, err := follow(path, writerFunc(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		arrived <- struct{}{}
		return got.Write(b)
	}))
	if err != nil {
		t.Fatal(err)
	}
	w, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	write := func(s string) {
		if _, err := w.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	write("first\n")
	<-arrived // live, not only at the end
	want := "first\n" + strings.Repeat("more\n", 1000)
	write(strings.Repeat("more\n", 1000))
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	if got.String() != want {
		t.Errorf("got %d bytes, want %d", got.Len(), len(want))
	}
}

// If the reader of the output goes away, as head does, neither the run nor the log ends.
func TestFollowForReaderThatLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	tried := make(chan struct{}, 10)
	f, err := follow(path, writerFunc(func([]byte) (int, error) {
		tried <- struct{}{}
		return 0, &os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE}
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("first\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	<-tried
	if err := os.WriteFile(path, []byte("first\nmore\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.stop(); err != nil {
		t.Errorf("got %v, want nil", err)
	}
}
