package klog

import (
	"regexp"
	"strings"
)

// A kernel's line on a console: "[   12.345678] text", with the printing task or CPU in a second pair of brackets if the
// kernel is built to say that (CONFIG_PRINTK_CALLER), and the level before it if it is told to (printk's "<4>").
var consoleLine = regexp.MustCompile(`^(?:<([0-7])>)?\[ *[0-9]+\.[0-9]{6}\](?:\[ *[TC][0-9]+\])? (.*)$`)

var escapes = regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]`)

// ParseConsole is the kernel message that a line of a guest's console holds; ok is false for what others write there.
func ParseConsole(line string) (m Message, ok bool) {
	line = escapes.ReplaceAllString(strings.TrimRight(line, "\r\n"), "")
	line = line[strings.LastIndexByte(line, '\r')+1:] // what stood there before was written over
	parts := consoleLine.FindStringSubmatch(line)
	if parts == nil {
		return Message{}, false
	}
	m = Message{Source: Guest, Level: UnknownLevel, Text: parts[2]}
	if parts[1] != "" {
		m.Level = int(parts[1][0] - '0')
	}
	return m, true
}
