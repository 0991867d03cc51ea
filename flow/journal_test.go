package flow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"vmtb/bench"
)

// sample returns the journal of a run with all kinds of entries.
func sample(t testing.TB) []byte {
	t.Helper()
	j, path := newJournal(t)
	code := 1
	id := ID{"test_basic", "TestVmSetup", "test_vm_boot", "1VF-(P:AUTO S:INFINITE)"}
	j.append(Entry{Event: Begin, Phase: PhaseRun, Timeout: 1})
	j.append(Entry{Event: Begin, Phase: PhaseSetUp, ID: id.Fixture(), Dir: "01/fixture-1", Timeout: 2})
	j.append(Entry{Event: Log, ID: id.Fixture(), Level: "INFO", Message: "bad \xff\x1b[31m\nbytes \u2028"})
	j.append(Entry{
		Event: Mark, Phase: PhaseCase, ID: id, Attempt: 2, Mark: "m", BootID: "b", Level: "WARN", Source: "host",
		Rule: "r",
	})
	j.append(Entry{
		Event: End, Phase: PhaseCase, ID: id, Result: Fail, Reason: "no", Blame: BlameGuest, Where: "a/b.go:1",
		Stack: "s", Abandoned: true, Quarantined: true,
	})
	j.append(Entry{Event: End, Phase: PhaseRun, Duration: 3, ExitCode: &code})
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func newJournal(t testing.TB) (*journal, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal.jsonl")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	return &journal{f: f, observe: func(Entry) {}, failed: func(err error) { t.Error(err) }}, path
}

// A crash may cut the journal at any byte, and the disk may have zeros after it. All whole lines
// are read.
func TestTornJournal(t *testing.T) {
	data := sample(t)
	whole, size, torn, err := ReadJournal(bytes.NewReader(data))
	if err != nil || torn || size != int64(len(data)) || len(whole) != 6 {
		t.Fatalf("%d entries in %d bytes, torn %v, error %v", len(whole), size, torn, err)
	}
	for n := range data {
		lines := bytes.Count(data[:n], []byte("\n"))
		for _, tail := range []string{"", "\x00\x00\x00", "\x00\x00\n"} {
			got, size, torn, err := ReadJournal(io.MultiReader(bytes.NewReader(data[:n]), strings.NewReader(tail)))
			if err != nil {
				t.Fatalf("cut at %d with tail %q: %v", n, tail, err)
			}
			if diff := cmp.Diff(whole[:lines], got); lines > 0 && diff != "" {
				t.Fatalf("cut at %d with tail %q (-want +got)\n%s", n, tail, diff)
			}
			if want := int64(bytes.LastIndexByte(data[:n], '\n') + 1); size != want ||
				torn != (int64(n) > want || tail != "") {
				t.Fatalf("cut at %d with tail %q: size %d, torn %v", n, tail, size, torn)
			}
		}
	}
}

func TestBadJournal(t *testing.T) {
	data := sample(t)
	lines := bytes.SplitAfter(data, []byte("\n"))
	for name, bad := range map[string][]byte{
		"line 2: invalid":                   slices.Concat(lines[0], []byte("x\n"), lines[1], lines[2]),
		"line 2: sequence number 3, want 2": slices.Concat(lines[0], lines[2], lines[3]),
	} {
		got, _, torn, err := ReadJournal(bytes.NewReader(bad))
		if err == nil || !strings.Contains(err.Error(), name) || torn || len(got) != 1 {
			t.Errorf("%s: %d entries, torn %v, error %v", name, len(got), torn, err)
		}
	}
	if _, _, _, err := ReadJournal(io.MultiReader(bytes.NewReader(data), failingReader{})); !errors.Is(err, errBoom) {
		t.Errorf("error of the disk: %v", err)
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errBoom }

func FuzzReadJournal(f *testing.F) {
	data := sample(f)
	f.Add(data)
	f.Add(data[:len(data)-9])
	f.Add([]byte("{\"seq\":1}\n\x00\x00\n"))
	f.Add([]byte("{\"seq\":1,\"id\":{\"file\":3}}\n{\"seq\":2}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, size, torn, err := ReadJournal(bytes.NewReader(data))
		if size > int64(len(data)) || err == nil && torn == (size == int64(len(data))) {
			t.Fatalf("size %d of %d, torn %v", size, len(data), torn)
		}
		again, _, torn, err := ReadJournal(bytes.NewReader(data[:size]))
		if err != nil || torn || len(again) != len(entries) {
			t.Fatalf("the whole part reads as %d entries of %d, torn %v, error %v", len(again), len(entries), torn, err)
		}
	})
}

// Text in the journal is valid UTF-8 of bounded length. Valid short text is unchanged.
func TestText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bytes"))
		in = strings.Repeat(in, rapid.SampledFrom([]int{1, 1, 5000}).Draw(t, "times"))
		out := text(in)
		if !utf8.ValidString(out) || len(out) > 3*maxText+100 {
			t.Fatalf("%d bytes, valid %v", len(out), utf8.ValidString(out))
		}
		if utf8.ValidString(in) && len(in) <= maxText && out != in {
			t.Fatalf("%q became %q", in, out)
		}
	})
	long := strings.Repeat("x", maxText-1) + "äöü"
	if got, want := text(long), long[:maxText-1]+"\n[cut: 65541 bytes in all]"; got != want {
		t.Errorf("cut inside of a letter: ...%q", got[maxText-3:])
	}
}

// A full disk ends the run in order: the fixture is torn down, the host is restored, and the user
// gets an error.
func TestDiskFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{}
	s.undo.s = s
	r, err := newRunner(s.registry("a", "b").Items(), Options{
		Dir: t.TempDir(), OpenUndo: func(string) (Undo, error) { return &s.undo, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.do = do{"one": func(context.Context, *Env, *T) error {
		r.journal.mu.Lock()
		defer r.journal.mu.Unlock()
		r.journal.f.Close()
		r.journal.f = full
		return nil
	}}
	_, err = r.finish(t.Context())
	var infra *bench.InfraError
	if !errors.As(err, &infra) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error %v", err)
	}
	if want := "set-up a1; one; tear-down 1; undo"; strings.Join(s.trace, "; ") != want {
		t.Errorf("trace %q, want %s", s.trace, want)
	}
}

// Entries have the JSON field names of docs/run-directory.md.
func TestEntryFields(t *testing.T) {
	doc, err := os.ReadFile("../docs/run-directory.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range bytes.Split(bytes.TrimSpace(sample(t)), []byte("\n")) {
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatal(err)
		}
		for name := range fields {
			if !bytes.Contains(doc, []byte("`"+name+"`")) {
				t.Errorf("docs/run-directory.md does not know the field %s", name)
			}
		}
	}
}
