package vm

import (
	"bytes"
	"io"
	"os"
	"regexp"

	"vmtb/bench/klog"
	"vmtb/internal/ansi"
)

// panicRE is how a kernel's panic begins (vpanic in kernel/panic.c): at the start of a line, or
// behind the kernel's time, which may stand anywhere in a line.
var panicRE = regexp.MustCompile(`(?:^|[\r\n\x00]|[0-9)]\] ?)(?:<[0-9]{1,3}>)?(Kernel panic - not syncing[^\r\n]*)`)

// findPanic returns the kernel's panic message in the text of a console, or "".
func findPanic(text string) string {
	if found := panicRE.FindStringSubmatch(ansi.Strip(text)); found != nil {
		return found[1]
	}
	return ""
}

// A consoleSearch looks for a panic in a console that grows.
type consoleSearch struct {
	offset int64
	found  bool
}

// maxLook is how much of a console is looked at at once.
const maxLook = 1 << 20

// panicked reports a panic when the console has one and has stopped growing: the trace follows the
// line.
func (s *consoleSearch) panicked(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	data, err := io.ReadAll(io.NewSectionReader(f, s.offset, maxLook))
	if err != nil {
		return false
	}
	end := bytes.LastIndexByte(data, '\n') + 1 // the last line may be half written
	if end == 0 && len(data) == maxLook {
		end = klog.CutLine(string(data))
	}
	s.offset += int64(end)
	still := s.found && end == 0
	s.found = s.found || findPanic(string(data[:end])) != ""
	return still
}
