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

// ResultsDir is the parent of run directories if --run-dir is not given.
const ResultsDir = "vmtb-results"

// NewRunDir creates the directory of a run. If asked is set, it must be new or empty. Otherwise
// NewRunDir creates a directory in ResultsDir, named after the time and suffix.
func NewRunDir(asked, suffix string) (string, error) {
	dir, err := makeRunDir(asked, suffix)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	return dir, runDirError(err)
}

// runDirError adds advice for the user to an error about the run directory.
func runDirError(err error) error {
	if err == nil {
		return nil
	}
	return &bench.UsageError{Err: fmt.Errorf("run directory: %w", err), Advice: "--run-dir names another directory"}
}

// CheckRunDir checks that dir is empty or can be created. It leaves no files behind.
func CheckRunDir(dir string) error {
	err := checkEmpty(dir)
	if errors.Is(err, fs.ErrNotExist) {
		// Creating a file there needs the same permission.
		err = atomicfile.Check(filepath.Clean(dir))
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

// LabRunName is the name of the run directory in the folder of a "vmtb lab run".
const LabRunName = "run"

// RunDirIn returns dir, or the run directory in it if dir is the folder of a "vmtb lab run".
func RunDirIn(dir string) string {
	inner := filepath.Join(dir, LabRunName)
	if flow.IsRunDir(dir) || !flow.IsRunDir(inner) {
		return dir
	}
	return inner
}
