package kernelwatch

import (
	"encoding/json"
	"fmt"
	"os"

	"vmtb/bench"
	"vmtb/bench/klog"
)

// ReadRules reads the user's file of rules. If path is "", it returns the built-in rules. raw is
// the content of the file.
func ReadRules(path string) (raw json.RawMessage, rules klog.Rules, err error) {
	if path != "" {
		if raw, err = os.ReadFile(path); err != nil {
			return nil, nil, &bench.UsageError{Err: fmt.Errorf("kernel log rules: %w", err)}
		}
	}
	rules, err = ParseRules(path, raw)
	return raw, rules, err
}

// ParseRules returns the rules in raw, which may be empty, followed by the built-in ones. The first
// rule that matches counts. path is for the errors.
func ParseRules(path string, raw json.RawMessage) (klog.Rules, error) {
	builtin, err := klog.Builtin()
	if err != nil || len(raw) == 0 && path == "" {
		return builtin, err
	}
	own, err := klog.Parse(path, raw)
	return append(own, builtin...), err
}
