package labels

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A Set maps names of labels to values. A name has lower-case letters, digits, "_" and "-". A value
// is printable, has no blanks, and is not "".
type Set map[string]string

// Formats are the formats of [Set.Write].
var Formats = []string{"text", "json", "lava", "slurm", "gitlab"}

// longestValue is the maximum length of a value in bytes.
const longestValue = 200

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,30}$`)

// isValue reports whether s can be a value. It uses no regular expression: compiling one with 200
// repetitions takes longer than everything else that vmtb does before main.
func isValue(s string) bool {
	odd := func(r rune) bool { return r < '!' || r > '~' }
	return s != "" && len(s) <= longestValue && !strings.ContainsFunc(s, odd)
}

// Put adds a label. It replaces blanks and unprintable characters in the value by "-". For the
// value "" it adds nothing.
func (s Set) Put(name, value string) {
	value = strings.Join(strings.FieldsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }), "-")
	if value != "" {
		s[name] = value[:min(len(value), longestValue)]
	}
}

// Parse parses an operator's labels: NAME=VALUE, one a line. It ignores empty lines and lines that
// begin with "#". Errors name the file and each wrong line.
func Parse(file string, data []byte) (Set, error) {
	s := Set{}
	var wrong []string
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		switch {
		case !ok || !nameForm.MatchString(name) || !isValue(value):
			const want = "want NAME=VALUE, like rack=b7: the name in lower-case letters, the value without blanks"
			wrong = append(wrong, fmt.Sprintf("%s:%d: %q: %s", file, n, line, want))
		case s[name] != "":
			wrong = append(wrong, fmt.Sprintf("%s:%d: %s was given before", file, n, name))
		default:
			s[name] = value
		}
	}
	if wrong != nil {
		return nil, fmt.Errorf("%s", strings.Join(wrong, "\n"))
	}
	return s, nil
}

// Names returns the names, sorted.
func (s Set) Names() []string { return slices.Sorted(maps.Keys(s)) }

// Write writes the labels in one of [Formats].
func (s Set) Write(w io.Writer, format string) error {
	var lines []string
	switch format {
	case "json":
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	case "text":
		for _, name := range s.Names() {
			lines = append(lines, name+"="+s[name])
		}
	case "lava": // a tag has only a name
		lines = s.words("-", `[^A-Za-z0-9_.-]+`)
	// The value of --tag-list, and of tags in config.toml after splitting; tags often have colons.
	case "gitlab":
		lines = []string{strings.Join(s.words(":", `[,\s]+`), ",")}
	// For the node's line in slurm.conf; operators of --constraint must not be in a feature.
	case "slurm":
		line := "Features=" + strings.Join(s.words("-", `[^A-Za-z0-9_.-]+`), ",")
		if vfs := s["vfs"]; vfs != "" {
			line += " Gres=vf:" + vfs
		}
		lines = []string{line}
	default:
		return fmt.Errorf("--format=%s: want one of %s", format, strings.Join(Formats, ", "))
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// words returns the labels as single words. Text that matches the pattern barred is replaced by
// "-".
func (s Set) words(between, barred string) (words []string) {
	re := regexp.MustCompile(barred)
	for _, name := range s.Names() {
		words = append(words, name+between+strings.Trim(re.ReplaceAllString(s[name], "-"), "-"))
	}
	return words
}
