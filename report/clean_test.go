package report

import (
	"io"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"
	"unicode/utf8"

	"vmtb/flow"
	"vmtb/report/reporttest"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"a\r\nb\rc\n": "a\nb\nc\n", "\x1b[1;31mred\x1b[0m": "red", "\x1b]0;title\x07x\x1b]8;;u\x1b\\y": "xy", "\x1bcz\x1b": `z\x1b`,
		"a\x00\x00\x00b\x00": `a\x00(3 times)b\x00`, "\xff": "\uFFFD", "\u202e\u2028\ufffe\x07": `\u202e\u2028\ufffe\x07`, "\t": "    ", "é😀": "é😀",
	} {
		if got := clean(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

func TestTail(t *testing.T) {
	fsys := fstest.MapFS{"log": {Data: []byte("first\nsecond\nthird\n")}, "dir/x": {}}
	for _, tt := range []struct {
		name string
		n    int64
		want string
	}{
		{"log", 100, "first\nsecond\nthird\n"},
		{"log", 8, "[13 bytes before this are left out: log]\nthird\n"},
		{"log", 3, "[19 bytes before this are left out: log]\n"},
		{"none", 9, ""},
		{"dir", 9, ""},
		{"../log", 9, ""},
	} {
		got, err := readTail(fsys, tt.name, tt.n)
		if err != nil || got.String() != tt.want {
			t.Errorf("%s, %d: %q, %v", tt.name, tt.n, got, err)
		}
	}
	for s, want := range map[string]string{"short": "short", "one\ntwo\nthree four": "[...]\nthree four", strings.Repeat("é", 20): "[...]\n" + strings.Repeat("é", 5)} {
		if got := lastBytes(s, 17); got != want || !utf8.ValidString(got) {
			t.Errorf("%q is %q, want %q", s, got, want)
		}
	}
}

func TestOptionLines(t *testing.T) {
	line := `qemu -name 'a -b' -S -m 256M -append 'x '\'' -y' -- - -z`
	want := "qemu|-name 'a -b'|-S|-m 256M|-append 'x '\\'' -y'|-- -|-z"
	if got := strings.Join(optionLines(line), "|"); got != want {
		t.Errorf("%s", got)
	}
	argv := machineFiles("vm0")["vm0/argv"]
	if got := prepare(argv, "my image"); got != "mkdir -p /run/vmtb/abc /var/tmp/vmtb-1\nqemu-img create -f qcow2 -F FORMAT_OF_IMAGE -b 'my image' /var/tmp/vmtb-1/disk0.qcow2\n" {
		t.Errorf("%s", got)
	}
	if got := prepare("qemu -S", ""); got != "" {
		t.Errorf("%q", got)
	}
}

func FuzzOptionLines(f *testing.F) {
	f.Add(`qemu -a 'b -c' \' -d`)
	f.Fuzz(func(t *testing.T, line string) {
		if got := strings.Join(optionLines(line), " "); got != line {
			t.Errorf("%q became %q", line, got)
		}
	})
}

func TestLane(t *testing.T) {
	var l lane
	if err := l.read(strings.NewReader(machineFiles("vm0")["vm0/qmp.jsonl"])); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range l.segments {
		got = append(got, s.title+" "+s.to.Sub(s.from).String())
	}
	if g, want := strings.Join(got, ", "), "not started 1.5s, running 17s, paused 4s, guest_panicked 0s, shutdown 0s, running 16s"; g != want {
		t.Errorf("%s\nwant %s", g, want)
	}
}

func FuzzLane(f *testing.F) {
	f.Add(machineFiles("vm0")["vm0/qmp.jsonl"])
	f.Add(`{"t":"2026-04-01T12:00:00Z","line":{"event":"STOP"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		l := lane{name: "vm0"}
		if err := l.read(strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		s := &site{h: newHistory(flow.Info{})}
		g := &group{phases: []*phase{{began: time.Unix(0, 0), Entry: flow.Entry{Phase: flow.PhaseSetUp, Duration: time.Hour}}}}
		for _, r := range s.waterfall(g, []lane{l}).Rows {
			for _, b := range r.Bars {
				if b.x < 0 || b.w < 0 || b.x+b.w > 100.001 {
					t.Errorf("bar %+v", b)
				}
			}
		}
	})
}

// Whatever a journal says, every format stays readable for its readers.
func FuzzFormats(f *testing.F) {
	f.Add("plain", "reason", "message", "case", "pass", int64(1), "log")
	f.Add(odd, odd, odd, "step", "dmesg-warn", int64(-5), odd)
	f.Add("a]]>b", "# x\n1..2", "\n\nnot ok 1", "restore", "odd", int64(1)<<62, "<script>")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, name, reason, message, phase, result string, took int64, file string) {
		id := flow.ID{File: "test_f", Class: name, Case: message, Param: name}
		tp := newTape(id, boot("1VF"))
		tp.info.Plan[0].Dir, tp.info.Plan[1].Dir = "01/"+reason, "02/x"
		tp.info.Dir, tp.info.DUT, tp.info.Version, tp.info.Config = dir, reason, message, []byte(file)
		tp.info.Environment = []flow.Fact{{Name: name, Value: reason}}
		tp.begin(flow.PhaseSetUp, id.Fixture())
		tp.begin(flow.Phase(phase), id)
		tp.entry(flow.Entry{Event: flow.Begin, Phase: flow.PhaseStep, ID: id, Name: name})
		tp.log(result, message, id)
		tp.entry(flow.Entry{Event: flow.End, Phase: flow.Phase(phase), ID: id, Duration: time.Duration(took), Result: flow.Result(result), Reason: reason, Where: name, Stack: message, Blame: flow.Blame(name), Dir: name})
		tp.phase(flow.Entry{Phase: flow.PhaseTearDown, ID: id.Fixture(), Result: flow.Error, Reason: message}, 0)
		run := &flow.RunDir{Info: tp.info, Entries: tp.entries}
		fsys := fstest.MapFS{"01/fixture-1/vm0/argv": {Data: []byte(file)}, "01/fixture-1/vm0/console.log": {Data: []byte(message)}, "01/x/dmesg.txt": {Data: []byte(reason)}}
		text := func(format func(io.Writer) Report) string {
			var b strings.Builder
			if err := Replay(format(&b), run); err != nil {
				t.Fatal(err)
			}
			return b.String()
		}
		checkKCIDB(t, text(func(w io.Writer) Report { return NewKCIDB(w, fsys) }))
		checkJUnitWellFormed(t, text(func(w io.Writer) Report { return NewJUnit(w, fsys) }))
		if _, err := readKTAP(text(func(w io.Writer) Report { return NewKTAP(w, fsys) })); err != nil {
			t.Error(err)
		}
		reporttest.Read(t, text(func(w io.Writer) Report { return NewResults(w, fsys) }))
		for _, r := range text(func(w io.Writer) Report { return NewLogfile(w, fsys) }) {
			if r != '\n' && r < 0x20 || r == '\u202e' {
				t.Errorf("%U in the log file", r)
			}
		}
		pages, err := NewHTML(dir, HTMLOptions{Run: fsys, Dir: dir, Earlier: run})
		if err == nil {
			err = Replay(pages, run)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range pagesOf(t, dir) {
			walk(t, name)
			os.Remove(name)
		}
	})
}
