package strictjson

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Unmarshal parses data, the content of the file called name, into v. Unknown keys, repeated keys,
// values of the wrong type (including null) and bytes after the end are errors. They begin with
// "name:line:column:".
func Unmarshal(name string, data []byte, v any) error {
	if encoding := otherEncoding(data); encoding != "" {
		return Errorf(
			name, data, 0, "",
			"the file is %s, want UTF-8 without a byte-order mark: save it in that encoding", encoding,
		)
	}
	err := json.Unmarshal(data, v, json.RejectUnknownMembers(true), json.WithUnmarshalers(refuseNull))
	if err == nil {
		return nil
	}
	return Locate(name, data, err)
}

// otherEncoding returns the usual name of an encoding that JSON does not allow, if data begins with
// its byte-order mark. Otherwise it returns "".
func otherEncoding(data []byte) string {
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return "UTF-8 with a byte-order mark"
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return "UTF-16"
	}
	return ""
}

// refuseNull refuses null. The JSON packages take it for the zero value of anything, which would
// overwrite a default.
var refuseNull = json.UnmarshalFromFunc(func(dec *jsontext.Decoder, v any) error {
	if dec.PeekKind() == jsontext.KindNull {
		if _, err := dec.ReadToken(); err != nil {
			return err
		}
		return &json.SemanticError{
			ByteOffset: dec.InputOffset() - int64(len("null")), JSONPointer: dec.StackPointer(),
			JSONKind: jsontext.KindNull, GoType: reflect.TypeOf(v).Elem(),
		}
	}
	return errors.ErrUnsupported
})

// Locate converts an error of the JSON packages to the form of [Unmarshal]'s errors.
func Locate(name string, data []byte, err error) error {
	offset, pointer, reason := len(data), jsontext.Pointer(""), err
	if e, ok := errors.AsType[*json.SemanticError](err); ok {
		offset, pointer, reason = int(e.ByteOffset), e.JSONPointer, e.Err
		if reason == nil || errors.Is(reason, strconv.ErrSyntax) { // 1.5 for a whole number
			reason = fmt.Errorf("found a JSON %s, want %s", kind(e.JSONKind), wanted(e.GoType))
		}
	} else if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		offset, pointer, reason = int(e.ByteOffset), e.JSONPointer, e.Err
	}
	if errors.Is(reason, json.ErrUnknownName) {
		reason = errors.New("unknown key")
	}
	return Errorf(name, data, offset, key(pointer), "%w", reason)
}

// Errorf returns an error about the value or token at, or next after, an offset in a file. key may
// be "".
func Errorf(name string, data []byte, offset int, key, format string, args ...any) error {
	return fmt.Errorf("%s: %w", Where(name, data, offset, key), fmt.Errorf(format, args...))
}

// Where returns the beginning of an error: "name:line:column" and, if there is a key, ": key".
func Where(name string, data []byte, offset int, key string) string {
	line, col := position(data, offset)
	if key != "" {
		return fmt.Sprintf("%s:%d:%d: %s", name, line, col, key)
	}
	return fmt.Sprintf("%s:%d:%d", name, line, col)
}

// key formats a JSON pointer as a key: guest.igt.test_dir.
func key(p jsontext.Pointer) string {
	var words []string
	for w := range p.Tokens() {
		words = append(words, w)
	}
	return strings.Join(words, ".")
}

func kind(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "boolean"
	case '"':
		return "string"
	case '0':
		return "number"
	case '{':
		return "object"
	case '[':
		return "array"
	}
	return "value"
}

// wanted describes the values of a Go type, for people who write JSON.
func wanted(t reflect.Type) string {
	switch k := t.Kind(); {
	case k == reflect.Pointer:
		return wanted(t.Elem())
	case k == reflect.Struct, k == reflect.Map:
		return "object"
	case k == reflect.Slice, k == reflect.Array:
		return "array"
	case k == reflect.Bool:
		return "boolean"
	case k >= reflect.Int && k <= reflect.Uint64:
		return "whole number"
	case k == reflect.Float32, k == reflect.Float64:
		return "number"
	}
	return "string"
}

// position converts a byte offset to a line and a column, both counted from 1, the column in bytes.
// An offset between two tokens counts as the start of the second.
func position(data []byte, offset int) (line, col int) {
	offset = min(max(offset, 0), len(data))
	for offset < len(data) && strings.IndexByte(" \t\r\n:,", data[offset]) >= 0 {
		offset++
	}
	before := data[:offset]
	return bytes.Count(before, []byte("\n")) + 1, offset - bytes.LastIndexByte(before, '\n')
}
