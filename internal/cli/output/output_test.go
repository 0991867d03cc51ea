package output

import (
	"encoding"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/json.md again")

// outputs are the values that commands print with --json.
var outputs = []struct {
	commands string
	value    any
}{
	{"vmtb version", Program{}},
	{"vmtb list, vmtb run --dry-run", []Flow{}},
	{"vmtb doctor, vmtb image check", []Check{}},
	{"vmtb vf list, vmtb vf enable", GPU{}},
	{"vmtb vm list, vmtb lab list", []Machine{}},
	{"vmtb vm snapshots", []Snapshot{}},
	{"vmtb vm vnc", Screen{}},
	{"vmtb lab speed", Speed{}},
	{"vmtb lab build", Images{}},
	{"vmtb lab matrix", Matrix{}},
}

// In head, ~ stands for a backtick.
const head = `# JSON for programs

Commands with ~--json~ print the fields below. ~vmtb version --json~ has the version of all of them
in its field ~json~. It rises when a field goes, or has another name, type or meaning. New fields do not raise
it, so a program must ignore fields that it does not know. This page describes version %d.

Times are RFC 3339, and durations (~_ns~) nanoseconds. "optional" fields may be missing. Others may be null
if their type has a "?".

~vmtb run --json~ prints the journal, line by line, after a line with what ~run.json~ begins with:
[the run directory](run-directory.md). ~vmtb vm qmp~ prints what QEMU answers. Reports have formats of their
own: [reports](reports.md).
`

// TestPage: docs/json.md matches the types of this package.
func TestPage(t *testing.T) {
	const file = "../../../docs/json.md"
	var page strings.Builder
	fmt.Fprintf(&page, strings.ReplaceAll(head, "~", "`"), Version)
	for _, o := range outputs {
		fmt.Fprintf(&page, "\n## %s\n\n", o.commands)
		typ := reflect.TypeOf(o.value)
		what := "An object"
		if typ.Kind() == reflect.Slice {
			what, typ = "An array of objects", typ.Elem()
		}
		fmt.Fprintf(&page, "%s:\n\n| Field | Type |\n|---|---|\n", what)
		for _, f := range fieldsOf(t, typ, "") {
			fmt.Fprintf(&page, "| `%s` | %s |\n", f.name, f.typ)
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(page.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), page.String()); diff != "" {
		t.Errorf("what programs read is not what docs/json.md says (-page +types). If a field went or changed, "+
			"raise Version and say so in changelog/; then go test ./internal/cli/output -update:\n%s", diff)
	}
}

// A field is a JSON field. Its name is the path: "a.b" in an object, "a[].b" in an array of
// objects, and "a.*" in a map.
type field struct{ name, typ string }

// fieldsOf lists the fields that package encoding/json writes. The fields of an embedded struct
// belong to the outer one, unless that has a field of the same name.
func fieldsOf(t *testing.T, typ reflect.Type, prefix string) (list []field) {
	t.Helper()
	own := map[string]bool{}
	for i := range typ.NumField() {
		if f := typ.Field(i); f.IsExported() && !f.Anonymous {
			own[jsonName(f)] = true
		}
	}
	for i := range typ.NumField() {
		f := typ.Field(i)
		if f.Anonymous && f.Tag.Get("json") == "" {
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			for _, g := range fieldsOf(t, inner, prefix) {
				first, _, _ := strings.Cut(strings.TrimPrefix(g.name, prefix), ".")
				if first, _, _ = strings.Cut(first, "["); !own[first] {
					list = append(list, g)
				}
			}
			continue
		}
		if !f.IsExported() || f.Tag.Get("json") == "-" {
			continue
		}
		optional := ""
		if strings.Contains(f.Tag.Get("json"), ",omit") {
			optional = ", optional"
		}
		list = append(list, valuesOf(t, f.Type, prefix+jsonName(f), optional)...)
	}
	return list
}

func valuesOf(t *testing.T, typ reflect.Type, name, more string) []field {
	t.Helper()
	if typ.Kind() == reflect.Pointer {
		return valuesOf(t, typ.Elem(), name, "?"+more)
	}
	if typ != reflect.TypeFor[time.Time]() && typ.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return []field{{name, "string" + more}}
	}
	switch typ.Kind() {
	case reflect.Slice, reflect.Array:
		return valuesOf(t, typ.Elem(), name+"[]", more)
	case reflect.Map:
		return valuesOf(t, typ.Elem(), name+".*", more)
	case reflect.Struct:
		if typ == reflect.TypeFor[time.Time]() {
			return []field{{name, "time" + more}}
		}
		var list []field
		if more != "" {
			list = append(list, field{name, "object" + more})
		}
		return append(list, fieldsOf(t, typ, name+".")...)
	case reflect.String:
		return []field{{name, "string" + more}}
	case reflect.Bool:
		return []field{{name, "boolean" + more}}
	case reflect.Float64:
		return []field{{name, "number" + more}}
	default:
		if typ.Kind() >= reflect.Int && typ.Kind() <= reflect.Uint64 {
			return []field{{name, "integer" + more}}
		}
		t.Fatalf("%s is a %v", name, typ)
		return nil
	}
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "" {
		name = f.Name
	}
	return name
}
