package kernelwatch

import (
	"fmt"
	"os"
)

// maxLog limits the size of a log file in bytes. The last line of a full file says so.
const maxLog = 16 << 20

// A logFile is a text file of limited size. The first write creates it. A write error does not end
// the run; close returns it. If the disk is full, the journal ends the run.
type logFile struct {
	path string
	f    *os.File
	left int
	err  error
}

// open closes the file, and directs further text to another one. The error is about the former
// file.
func (l *logFile) open(path string) error {
	err := l.close()
	l.path, l.left = path, maxLog
	return err
}

func (l *logFile) write(text string) {
	if l.path == "" || l.left <= 0 || l.err != nil {
		return
	}
	if l.f == nil {
		l.f, l.err = os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if l.err != nil {
			return
		}
		if info, err := l.f.Stat(); err == nil {
			l.left = maxLog - int(info.Size())
		}
	}
	if l.left < len(text) {
		text = fmt.Sprintf("[cut: this file has reached its limit of %d MiB]\n", maxLog>>20)
		l.left = 0
	}
	l.left -= len(text)
	_, l.err = l.f.WriteString(text)
}

func (l *logFile) close() error {
	err := l.err
	if l.f != nil {
		if cerr := l.f.Close(); err == nil {
			err = cerr
		}
	}
	l.f, l.path, l.err = nil, "", nil
	return err
}
