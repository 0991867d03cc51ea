package lab

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"vmtb/bench"
)

// xeParam matches the declaration of a parameter in the source of the stand-in for xe.
var xeParam = regexp.MustCompile(`module_param(?:_named)?\((\w+),`)

// CheckXeParams returns a [bench.UsageError] for parameters that the stand-in for xe does not have.
// The kernel only logs a line about them. The module itself checks values.
func CheckXeParams(params []string) error {
	source, err := sources.ReadFile("kmod/xe/params.c")
	if err != nil {
		return err
	}
	var known []string
	for _, m := range xeParam.FindAllSubmatch(source, -1) {
		known = append(known, string(m[1]))
	}
	for _, p := range params {
		name, value, _ := strings.Cut(p, "=")
		err := error(nil)
		switch {
		case !slices.Contains(known, name):
			err = fmt.Errorf("the stand-in for xe has no parameter %q", name)
		case value == "" || strings.ContainsAny(value, `"'`):
			err = errors.New(name + " needs a value, without quotation marks")
		}
		if err != nil {
			return &bench.UsageError{
				Err: fmt.Errorf("--xe %q: %w", p, err), Advice: "there are " + strings.Join(known, ", "),
			}
		}
	}
	return nil
}
