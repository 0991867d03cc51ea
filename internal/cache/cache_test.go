package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"vmtb/internal/progress"
)

// quiet returns a progress without output.
func quiet() *progress.Progress { return progress.New(io.Discard, "lab", nil) }

// testCache opens the cache in dir.
func testCache(t *testing.T, dir string, p *progress.Progress) *Cache {
	t.Helper()
	c, err := Open(dir, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// content lists the directories of the cache, without leftovers.
func content(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return strings.Join(names, " ")
}

// makeEntry makes an entry whose last use was this long ago.
func makeEntry(t *testing.T, dir, name string, unused time.Duration) string {
	t.Helper()
	entry := filepath.Join(dir, name)
	used := time.Now().Add(-unused)
	err := errors.Join(os.Mkdir(entry, 0o755), os.WriteFile(filepath.Join(entry, "f"), []byte("x"), 0o644))
	if err := errors.Join(err, os.Chtimes(entry, used, used)); err != nil {
		t.Fatal(err)
	}
	return entry
}

func TestCache(t *testing.T) {
	dir := t.TempDir()
	c := testCache(t, dir, quiet())
	builds := 0
	build := func(tmp *os.File) error {
		builds++
		return os.WriteFile(filepath.Join(tmp.Name(), "f"), []byte("x"), 0o644)
	}
	first, err := c.Entry(t.Context(), "kind", "key", "it", build)
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.Entry(t.Context(), "kind", "key", "it", build)
	if err != nil || second != first || builds != 1 {
		t.Errorf("second time: %q, %v, %d builds", second, err, builds)
	}
	failed := errors.New("no")
	_, err = c.Entry(t.Context(), "kind", "bad", "it", func(*os.File) error { return failed })
	if !errors.Is(err, failed) || content(t, dir) != "kind-key" {
		t.Errorf("a failed build: %v, and the cache holds %s", err, content(t, dir))
	}
}

// The leftovers of a killed build do not get into the next build of the entry.
func TestCacheAfterKilledBuild(t *testing.T) {
	dir := t.TempDir()
	c := testCache(t, dir, quiet())
	makeEntry(t, dir, "building-kind-key", 0)
	entry, err := c.Entry(t.Context(), "kind", "key", "it", func(tmp *os.File) error {
		return os.WriteFile(filepath.Join(tmp.Name(), "new"), nil, 0o644)
	})
	files, globErr := filepath.Glob(filepath.Join(entry, "*"))
	if err != nil || globErr != nil || len(files) != 1 || filepath.Base(files[0]) != "new" {
		t.Errorf("the entry holds %v (%v, %v), want new", files, err, globErr)
	}
}

// A second builder of the same entry waits for the first one, reports this, and uses its result. A
// builder of another entry does not wait. If the first one fails, the second one builds.
func TestCacheBuilders(t *testing.T) {
	for _, failure := range []error{nil, errors.New("no")} {
		t.Run(fmt.Sprint(failure), func(t *testing.T) {
			dir := t.TempDir()
			begun, end := make(chan struct{}), make(chan struct{})
			first := make(chan error, 1)
			one := testCache(t, dir, quiet())
			go func() {
				_, err := one.Entry(t.Context(), "kind", "key", "the thing", func(*os.File) error {
					close(begun)
					<-end
					return failure
				})
				first <- err
			}()
			<-begun

			other := testCache(t, dir, quiet())
			if _, err := other.Entry(t.Context(), "kind", "other", "x", func(*os.File) error {
				return nil
			}); err != nil {
				t.Errorf("another entry: %v", err)
			}

			said := writerFunc(func(b []byte) (int, error) {
				if strings.Contains(string(b), "waiting for another vmtb, which builds the thing") &&
					strings.Contains(string(b), "...") {
					close(end)
				}
				return len(b), nil
			})
			two := testCache(t, dir, progress.New(said, "lab", nil))
			built := false
			entry, err := two.Entry(t.Context(), "kind", "key", "the thing", func(*os.File) error {
				built = true
				return nil
			})
			if err != nil || entry != filepath.Join(dir, "kind-key") || built != (failure != nil) {
				t.Errorf("the second builder: %q, %v, built %t", entry, err, built)
			}
			if err := <-first; !errors.Is(err, failure) {
				t.Errorf("the first builder: %v, want %v", err, failure)
			}
		})
	}
}

// A waiting builder can be interrupted.
func TestCacheWaitInterrupted(t *testing.T) {
	dir := t.TempDir()
	holder := testCache(t, dir, quiet())
	ctx, cancel := context.WithCancel(t.Context())
	_, err := holder.Entry(t.Context(), "kind", "key", "it", func(*os.File) error {
		said := writerFunc(func(b []byte) (int, error) {
			cancel()
			return len(b), nil
		})
		waiter := testCache(t, dir, progress.New(said, "lab", nil))
		_, err := waiter.Entry(ctx, "kind", "key", "it", func(*os.File) error {
			return errors.New("built at the same time")
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want that it was cancelled", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// The clean-up removes leftovers of killed builds and old entries, except for a few of each kind.
// It keeps every entry that is in use, being built, or recently used.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	c := testCache(t, dir, quiet())
	for i := range 2 * keepEntries {
		makeEntry(t, dir, "kind-"+string(rune('a'+i)), time.Duration(i+100)*time.Minute)
		makeEntry(t, dir, "new-"+string(rune('a'+i)), time.Duration(i)*time.Minute)
	}
	makeEntry(t, dir, "old-used", 0)
	makeEntry(t, dir, "old-entry", 2*unusedFor)
	for _, left := range []string{"tmp-kind-1", "building-kind-x", "removing-1"} {
		makeEntry(t, dir, left, 0)
	}
	scratch, removeScratch, err := c.Scratch("disk")
	if err != nil {
		t.Fatal(err)
	}
	defer removeScratch()
	if used, err := c.use(t.Context(), filepath.Join(dir, "old-used")); err != nil || !used {
		t.Fatalf("%t, %v", used, err)
	}
	long := time.Now().Add(-2 * unusedFor)
	if err := os.Chtimes(filepath.Join(dir, "old-used"), long, long); err != nil {
		t.Fatal(err)
	}
	_, err = c.Entry(t.Context(), "kind", "built", "it", func(*os.File) error {
		return testCache(t, dir, quiet()).sweep()
	})
	if err != nil {
		t.Fatal(err)
	}
	want := filepath.Base(scratch.Name()) +
		" kind-a kind-b kind-built kind-c kind-d new-a new-b new-c new-d new-e new-f new-g new-h old-used"
	if got := content(t, dir); got != want {
		t.Errorf("the cache holds\n%s, want\n%s", got, want)
	}
	c.Close()
	testCache(t, dir, quiet())
	if got := content(t, dir); strings.Contains(got, "old-used") {
		t.Errorf("the cache holds %s: old-used is not in use any more", got)
	}
}

// A machine that outlives its command holds no lock. The clean-up finds it by its open files.
func TestCleanKeepsWhatIsInUse(t *testing.T) {
	dir := t.TempDir()
	makeEntry(t, dir, "kind-free", 0)
	entry := makeEntry(t, dir, "kind-used", 0)
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	cmd := exec.CommandContext(t.Context(), "cat")
	cmd.Stdin = in
	disk, err := os.Open(filepath.Join(entry, "f"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{disk}
	if err := errors.Join(cmd.Start(), disk.Close()); err != nil {
		t.Fatal(err)
	}
	freed, err := Clean(t.Context(), dir, quiet())
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("cat (process %d)", cmd.Process.Pid)) {
		t.Errorf("%v: want ErrInUse and the name of the process", err)
	}
	if got := content(t, dir); got != "kind-used" || freed == 0 {
		t.Errorf("the cache holds %s, %d bytes freed", got, freed)
	}
	if err := errors.Join(out.Close(), cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	if _, err := Clean(t.Context(), dir, quiet()); err != nil || content(t, dir) != "" {
		t.Errorf("%v: the cache holds %s", err, content(t, dir))
	}
}

// The key depends on every input, and on the borders between inputs.
func TestHash(t *testing.T) {
	file := func(name, text string) fstest.MapFS { return fstest.MapFS{name: {Data: []byte(text)}} }
	inputs := [][]any{
		{"a", "b"},
		{"ab"},
		{"ab", ""},
		{file("x", "1")},
		{file("x", "2")},
		{file("y", "1")},
		{"a", file("x", "1")},
	}
	seen := map[string]int{}
	for i, in := range inputs {
		key, err := Hash(in...)
		if err != nil {
			t.Fatal(err)
		}
		if j, dup := seen[key]; dup {
			t.Errorf("inputs %d and %d have the same key", i, j)
		}
		seen[key] = i
		if again, _ := Hash(in...); again != key {
			t.Errorf("input %d has two keys", i)
		}
	}
	tested := file("x", "1")
	tested["x_test.go"] = &fstest.MapFile{Data: []byte("t")}
	if with, _ := Hash(tested); with == "" || keyOf(t, file("x", "1")) != with {
		t.Error("a test of Go counts")
	}
	if _, err := Hash(1); err == nil {
		t.Error("a number was hashed")
	}
}

func keyOf(t *testing.T, part any) string {
	t.Helper()
	key, err := Hash(part)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
