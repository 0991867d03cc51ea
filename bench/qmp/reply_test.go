package qmp

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// splitReply decodes a long reply as encoding/json does.
func FuzzSplitReply(f *testing.F) {
	for _, s := range []string{
		`{"a": "x"}, "id": "k-1"`,
		`{"a": {"b": "}, \"id\": \"z\""}}, "id": "k-1"`,
		`{"a": ", "}, "id": "k\u0031"`,
		`{"a": 1}, "other": {"c": 2}, "id": "k"`,
		`{"a": 1, "id": "k"`,
		`[{"a": 1}], "id": "k"`,
		`{"a": [", ", "id"]}, "id": ""`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, rest string) {
		line := []byte(
			`{"return": ` + rest[:min(len(rest), 1)] + strings.Repeat(" ", longReply) + rest[min(len(rest), 1):] + `}`,
		)
		got, ok := splitReply(line)
		var want reply
		if !ok || json.Unmarshal(line, &want) != nil ||
			bytes.Contains(bytes.ToLower(line[1:]), []byte(`"return"`)) &&
				bytes.Count(bytes.ToLower(line), []byte(`"return"`)) > 1 {
			return // left to encoding/json, or no JSON, or a key that occurs twice, which QEMU never sends
		}
		if json.Valid(got.Return) && (got.ID != want.ID || !bytes.Equal(got.Return, want.Return)) {
			t.Errorf("%q: %v %s, want %v %s", rest, got.ID, got.Return, want.ID, want.Return)
		}
	})
}

func TestSplitReply(t *testing.T) {
	long := `{"return": {"x": "` + strings.Repeat("A", longReply) + `"}, "id": "me-7"}`
	if m, ok := splitReply([]byte(long)); !ok || m.ID != "me-7" ||
		string(m.Return) != long[len(`{"return": `):len(long)-len(`, "id": "me-7"}`)] {
		t.Errorf("%v, %v", m.ID, ok)
	}
	for _, line := range []string{
		`{"return": {}, "id": "short"}`,
		`{"id": "first", ` + long[1:],
		`{"error": {"class": "GenericError", "desc": "` + strings.Repeat("x", longReply) + `"}, "id": "k"}`,
		long[:len(long)-1],
		strings.Replace(long, "me-7", `me\"`, 1),
	} {
		if m, ok := splitReply([]byte(line)); ok {
			t.Errorf("%.40s: %v", line, m)
		}
	}
}
