package bench

import (
	"os/exec"
	"testing"

	"pgregory.net/rapid"
)

// A real shell turns a quoted word back into the original word.
func TestQuoteRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[ -~\n\t'"$\\]{0,12}`).Draw(t, "word")
		out, err := exec.Command("/bin/sh", "-c", "printf %s "+Quote(word)).Output()
		if err != nil || string(out) != word {
			t.Fatalf("quoted %q: got %q, %v", Quote(word), out, err)
		}
	})
}

func TestResultErr(t *testing.T) {
	c := Command{Argv: []string{"modprobe", "no such"}}
	tests := []struct {
		r    Result
		want string
	}{
		{Result{}, ""},
		{
			Result{ExitCode: 1, Stderr: []byte("FATAL: not found\n"), Stdout: []byte("out")},
			"modprobe 'no such': exit code 1: FATAL: not found",
		},
		{
			Result{Signal: 9, Stdout: []byte("a\nb\nc\nd\ne\nf\n")},
			"modprobe 'no such': killed by signal 9: b\nc\nd\ne\nf",
		},
		{Result{ExitCode: 3}, "modprobe 'no such': exit code 3"},
	}
	for _, tt := range tests {
		got := ""
		if err := tt.r.Err(c); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.r, got, tt.want)
		}
	}
}

func TestGist(t *testing.T) {
	const failed = `IGT-Version: 2.5
(gem_wsim:161) [thread:164] xe/xe_ioctl-CRITICAL: Failed assertion: __xe_exec(fd, exec) == 0
(gem_wsim:161) [thread:164] xe/xe_ioctl-CRITICAL: error: -125 != 0
(gem_wsim:161) igt_core-INFO: Stack trace:
(gem_wsim:161) igt_core-INFO:   #0 [__igt_fail_assert+0x101]
`
	for text, want := range map[string]string{
		"":                        "",
		"one\ntwo\nthree\nfour\n": "three\nfour",
		failed: "(gem_wsim:161) [thread:164] xe/xe_ioctl-CRITICAL: Failed assertion: __xe_exec(fd, exec) == 0\n" +
			"(gem_wsim:161) [thread:164] xe/xe_ioctl-CRITICAL: error: -125 != 0",
	} {
		if got := Gist([]byte(text), 2); got != want {
			t.Errorf("of %q: got %q, want %q", text, got, want)
		}
	}
}
