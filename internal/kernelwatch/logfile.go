package kernelwatch

import (
	"fmt"
	"os"
)

// maxLog bounds each log file that vmtb writes; a last line says so.
const maxLog = 16 << 20

// A logFile is a file of text that is made when there is something to write, and bounded. A run does not end because one
// cannot be written (the journal does that when the disk is full): the error is told in the end.
type logFile struct {
	path string
	f    *os.File
	left int
	err  error
}

// open directs what follows to another file, to which it is added. The error is that of the file before.
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
		text = fmt.Sprintf("[cut: this file has its %d MiB]\n", maxLog>>20)
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
