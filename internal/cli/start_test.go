package cli

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Packages allocate little before main, because this slows down every command.
func TestScaleStart(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Example: "init vmtb/bench/vm @4.2 ms, 0.4 ms clock, 97856 bytes, 950 allocs".
	form := regexp.MustCompile(`(?m)^init (vmtb/\S+) .* (\d+) bytes, \d+ allocs$`)
	all := 0
	for _, m := range form.FindAllStringSubmatch(string(out), -1) {
		n, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(m[1], "vmtb/internal/fake/") {
			continue
		}
		if all += n; n > 128<<10 {
			t.Errorf("%s allocates %d bytes when vmtb starts: make it when it is first used", m[1], n)
		}
	}
	t.Logf("packages of vmtb allocate %d bytes before main", all)
	if all == 0 {
		t.Errorf("no package seen:\n%s", out)
	}
}
