package keep

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vmtb/bench/undo"
	"vmtb/bench/vm"
)

func record(name string) Record {
	return Record{
		Name: name, Spec: vm.Spec{Name: name, Disks: []vm.Disk{{Image: "guest.img"}}}, Scale: 1, Started: time.Now(),
	}
}

func create(t *testing.T, s Store, name string) Record {
	t.Helper()
	r, err := s.create(record(name))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v, want one that says %q", err, part)
		}
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"vm0", "A-b_9", strings.Repeat("x", 32)} {
		if err := CheckName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", ".", "..", "a/b", "-x", "a b", "ä", "a:b", strings.Repeat("x", 33)} {
		wantError(t, CheckName(name), "want up to 32 letters")
	}
}

// A name is free again when its machine has ended and its undo journal is empty.
func TestCreate(t *testing.T) {
	s := Store{Dir: filepath.Join(t.TempDir(), strings.Repeat("long/", 30))} // longer than a socket's path can be
	r := create(t, s, "vm0")
	if life := r.Life(); life != Ended {
		t.Errorf("a machine that was not started: life %v, want %v", life, Ended)
	}
	l, err := listen(r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.create(record("vm0"))
	wantError(t, err, "a machine vm0 exists already", "vmtb vm off")
	_, err = s.Open("vm1")
	wantError(t, err, "there is no machine vm1", "there are: vm0")
	if _, err := s.Open("vm0"); err != nil {
		t.Error(err)
	}

	l.Close() // as if the keeper was killed, with an entry in its journal
	log, err := undo.Open(filepath.Join(r.Dir, UndoFile))
	if err != nil {
		t.Fatal(err)
	}
	me, err := undo.ProcessOf(os.Getpid())
	if err == nil {
		err = log.Add(me)
	}
	if err != nil {
		t.Fatal(err)
	}
	log.Close()
	if life := r.Life(); life != Died {
		t.Errorf("life %v, want %v", life, Died)
	}
	_, err = s.create(record("vm0"))
	wantError(t, err, "the keeper of an earlier machine vm0 died", "vmtb recover")
	_, err = s.Open("vm0")
	wantError(t, err, "died, and QEMU with it", "vmtb recover")

	if err := os.Remove(filepath.Join(r.Dir, UndoFile)); err != nil { // as if recovered
		t.Fatal(err)
	}
	_, err = s.Open("vm0")
	wantError(t, err, "machine vm0 has ended (its keeper (pid 0) was killed)", "vmtb vm start")
	r.Ended, r.Reason = time.Now(), "two\nlines"
	if err := r.write(); err != nil {
		t.Fatal(err)
	}
	_, err = s.Open("vm0")
	wantError(t, err, "two; lines", r.Dir)
	create(t, s, "vm0")
}

func TestList(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	if list, err := (Store{Dir: filepath.Join(s.Dir, "none")}).List(); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	create(t, s, "b")
	create(t, s, "a")
	if err := os.Mkdir(filepath.Join(s.Dir, "half-made"), 0o755); err != nil {
		t.Fatal(err)
	}
	list, err := s.List()
	if err != nil || len(list) != 2 || list[0].Name != "a" || list[1].Dir != filepath.Join(s.Dir, "b") {
		t.Errorf("%+v, %v", list, err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "a", recordFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = s.List()
	wantError(t, err, "machine.json", "remove the folder")
	bad := record("c")
	bad.Spec.CPUs = -1
	_, err = s.create(bad)
	wantError(t, err, "-1 CPUs")
}

// Every command that a message advises exists.
func TestAdvice(t *testing.T) {
	if got := (Store{}).ending(); got != "vmtb vm off" {
		t.Errorf("machines: %q", got)
	}
	if got := (Store{Command: "vmtb lab", End: "stop"}).ending(); got != "vmtb lab stop" {
		t.Errorf("labs: %q", got)
	}
}
