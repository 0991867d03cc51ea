package klog

import (
	"regexp"
	"strconv"
	"strings"

	"vmtb/internal/ansi"
)

// stamp matches the time that a kernel writes before each line: "[ 12.345678]" on a console, "[Tue
// Aug 26 16:31:20 2025]" by "dmesg -T". A kernel with CONFIG_PRINTK_CALLER adds the task or CPU: "[
// T12]". dmesg of util-linux puts a blank before it.
var stamp = regexp.MustCompile(`\[(?: *[0-9]+\.[0-9]{6}|[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} [0-9]{4})\]` +
	`(?: ?\[ *[TC][0-9]+[^]\[]*\])? ?`)

// These match priorities such as "<4>" or "<30>": eight times the facility, plus the level
// (print_syslog in kernel/printk/printk.c).
var (
	priorityBefore = regexp.MustCompile(`<([0-9]{1,3})>$`)
	priorityFirst  = regexp.MustCompile(`^<([0-9]{1,3})>`)
)

// ParseConsole returns the kernel messages in a line of a guest's console, oldest first. It returns
// none for the output of programs. A message may begin anywhere in the line. printk writes no line
// end first, so a prompt, a status line or half an escape sequence may precede the message. A
// message ends where the next one begins.
//
// The level is known if the guest's kernel writes it (console_msg_format=syslog). A message that a
// program has written to /dev/kmsg has a facility other than 0. Its level is [UnknownLevel], so
// rules judge it by its text only.
func ParseConsole(line string) []Message {
	if !strings.ContainsAny(line, "[<") {
		return nil
	}
	var found []Message
	for part := range strings.FieldsFuncSeq(line, func(r rune) bool { return r == '\r' || r == '\n' }) {
		stamps := stamp.FindAllStringIndex(part, -1)
		if len(stamps) == 0 { // a kernel that writes levels but no times (printk.time=0)
			if level := priorityFirst.FindStringSubmatch(part); level != nil {
				found = append(found, message(level[1], part[len(level[0]):]))
			}
			continue
		}
		for i, at := range stamps {
			end := len(part)
			if i+1 < len(stamps) {
				end = stamps[i+1][0]
				end -= len(priorityBefore.FindString(part[:end]))
			}
			priority := ""
			if p := priorityBefore.FindStringSubmatch(part[:at[0]]); p != nil {
				priority = p[1]
			}
			found = append(found, message(priority, part[at[1]:end]))
		}
	}
	return found
}

func message(priority, text string) Message {
	m := Message{Source: Guest, Level: UnknownLevel, Text: strings.Trim(ansi.Strip(text), "\x00")}
	if n, err := strconv.Atoi(priority); err == nil && n < 8 {
		m.Level = n
	}
	return m
}

// CutLine returns where to split the beginning off a line that is too long to be kept.
// [ParseConsole] finds the same messages in the two pieces as in the whole line, if no message is
// longer than the kernel's limit.
func CutLine(line string) int {
	const longest = 4 << 10 // PRINTK_MESSAGE_MAX, plus control sequences
	near := max(0, len(line)-longest)
	if stamps := stamp.FindAllStringIndex(line[near:], -1); len(stamps) > 0 {
		at := near + stamps[len(stamps)-1][0]
		return at - len(priorityBefore.FindString(line[:at]))
	}
	return near
}
