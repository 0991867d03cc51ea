package flows

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/internal/atomicfile"
)

// ResultsDir is the directory of run directories for which --run-dir was not given.
const ResultsDir = "vmtb-results"

// NewRunDir creates the directory of a run: the one asked for, which must be new or empty, or one
// in ResultsDir with the time and suffix as its name.
func NewRunDir(asked, suffix string) (string, error) {
	dir, err := makeRunDir(asked, suffix)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	return dir, runDirError(err)
}

// runDirError returns an error about the run directory for the user.
func runDirError(err error) error {
	if err == nil {
		return nil
	}
	return &bench.UsageError{Err: fmt.Errorf("run directory: %w", err), Advice: "--run-dir names another"}
}

// CheckRunDir checks whether dir can be a run directory: it is empty, or can be created. It leaves
// nothing behind.
func CheckRunDir(dir string) error {
	err := checkEmpty(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = atomicfile.Check(filepath.Clean(dir)) // a file with that name needs the same permission
	}
	return runDirError(err)
}

func checkEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%s is not empty", dir)
	}
	return err
}

func makeRunDir(asked, suffix string) (string, error) {
	if asked != "" {
		if err := os.MkdirAll(asked, 0o755); err != nil {
			return "", err
		}
		return asked, checkEmpty(asked)
	}
	if err := os.MkdirAll(ResultsDir, 0o755); err != nil {
		return "", err
	}
	base := filepath.Join(ResultsDir, time.Now().Format("20060102-150405")+suffix)
	dir := base
	for n := 2; ; n++ { // two runs may begin in the same second
		if err := os.Mkdir(dir, 0o755); !errors.Is(err, fs.ErrExist) {
			return dir, err
		}
		dir = fmt.Sprintf("%s-%d", base, n)
	}
}

// LabRunName is the name of the run directory in the folder that "vmtb lab run" makes.
const LabRunName = "run"

// RunDirIn returns dir, or the run directory in it if dir is the folder of a "vmtb lab run".
func RunDirIn(dir string) string {
	inner := filepath.Join(dir, LabRunName)
	if flow.IsRunDir(dir) || !flow.IsRunDir(inner) {
		return dir
	}
	return inner
}
