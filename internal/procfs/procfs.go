package procfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// BootIDFile has a UUID that the kernel makes at each boot. A guest has the same file.
const BootIDFile = "/proc/sys/kernel/random/boot_id"

// BootID returns the id of this host's current boot.
func BootID() (string, error) {
	id, err := os.ReadFile(BootIDFile)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("is /proc mounted? %w", err)
	}
	return strings.TrimSpace(string(id)), err
}

// A Stat has some fields of /proc/PID/stat. PID and StartTime together identify a process until the
// next boot.
type Stat struct {
	PID       int
	Comm      string // the command's name, at most 15 bytes; may have blanks and parentheses
	State     byte   // 'R', 'S', 'D', 'Z', ...
	CPUTicks  uint64 // CPU time of its threads in user and kernel mode: fields 14 and 15
	StartTime uint64 // clock ticks after boot: field 22
}

// CPU returns the CPU time that the process has used.
func (s Stat) CPU() time.Duration { return time.Duration(s.CPUTicks) * clockTick }

// Dead reports whether the process has ended and only its exit status is left.
func (s Stat) Dead() bool { return s.State == 'Z' || s.State == 'X' || s.State == 'x' }

// StatFile returns the path of a process's stat file.
func StatFile(pid int) string { return "/proc/" + strconv.Itoa(pid) + "/stat" }

// Self returns the stat of this process.
func Self() (Stat, error) { return Read(os.Getpid()) }

// Read returns the stat of a process of this host. The error matches [fs.ErrNotExist] if there is
// no such process.
func Read(pid int) (Stat, error) {
	text, err := os.ReadFile(StatFile(pid))
	if errors.Is(err, syscall.ESRCH) { // the process ended between open and read
		err = fs.ErrNotExist
	}
	if err != nil {
		return Stat{}, err
	}
	return ParseStat(string(text))
}

// These are fields of the file, counted from 1.
const (
	userTimeField, systemTimeField = 14, 15
	startTimeField                 = 22
)

// clockTick is the kernel's unit of time for programs: USER_HZ, which is 100 on all architectures
// with KVM.
const clockTick = 10 * time.Millisecond

// ParseStat parses "PID (COMM) STATE PPID ...".
func ParseStat(text string) (Stat, error) {
	open, end := strings.Index(text, "("), strings.LastIndex(text, ")")
	if open < 0 || end < open {
		return Stat{}, fmt.Errorf("process stat %q: no command name", text)
	}
	fields := strings.Fields(text[end+1:]) // begins with field 3
	if len(fields) < startTimeField-2 {
		return Stat{}, fmt.Errorf("process stat %q: too few fields", text)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(text[:open]))
	if err == nil && pid <= 0 {
		err = fmt.Errorf("pid %d", pid)
	}
	number := func(field int) (n uint64) {
		n, err2 := strconv.ParseUint(fields[field-3], 10, 64)
		err = errors.Join(err, err2)
		return n
	}
	cpu, start := number(userTimeField)+number(systemTimeField), number(startTimeField)
	if len(fields[0]) != 1 {
		err = errors.Join(err, fmt.Errorf("state %q: want a letter", fields[0]))
	}
	if err != nil {
		return Stat{}, fmt.Errorf("process stat %q: %w", text, err)
	}
	return Stat{pid, text[open+1 : end], fields[0][0], cpu, start}, nil
}
