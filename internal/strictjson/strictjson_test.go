package strictjson

import (
	"strings"
	"testing"
)

type sample struct {
	Host struct {
		Card int    `json:"card_index"`
		Name string `json:"name"`
	} `json:"host"`
	List    []int `json:"list"`
	Pointer *int  `json:"pointer"`
}

func TestUnmarshal(t *testing.T) {
	tests := []struct{ name, data, want string }{
		{"good", `{"host": {"card_index": 1}, "list": [1, 2]}`, ""},
		{"empty", ``, "f:1:1: "},
		{"unknown", "{\n  \"host\": {\n    \"card\": 1}}", "f:3:5: host.card: unknown key"},
		{"unknown at the top", `{"hots": {}}`, "f:1:2: hots: unknown key"},
		{
			"wrong type", "{\"host\":\n {\"card_index\": \"one\"}}",
			"f:2:17: host.card_index: found a JSON string, want whole number",
		},
		{
			"not a whole number", `{"host": {"card_index": 1.5}}`,
			"f:1:25: host.card_index: found a JSON number, want whole number",
		},
		{"twice", `{"list": [], "list": []}`, "f:1:14: list: duplicate object member name"},
		{"too big", `{"list": [1, 99999999999999999999]}`, "f:1:14: list.1: value out of range"},
		{"null", `{"host": {"card_index": 1}, "list": null}`, "f:1:37: list: found a JSON null, want array"},
		{"null object", "{\n\"host\": null}", "f:2:9: host: found a JSON null, want object"},
		{"null string", `{"host": {"name": null}}`, "f:1:19: host.name: found a JSON null, want string"},
		{"null pointer", `{"pointer": null}`, "f:1:13: pointer: found a JSON null, want whole number"},
		{"null item", `{"list": [1, null]}`, "f:1:14: list.1: found a JSON null, want whole number"},
		{"null for all", " null", "f:1:2: found a JSON null, want object"},
		{"array for all", `[]`, "f:1:1: found a JSON array, want object"},
		{"torn", "{\"host\": {", "f:1:11: "},
		{"tail", "{}\n{}", "f:2:1: "},
		{"UTF-8 with a mark", "\xef\xbb\xbf{}", "f:1:1: the file is UTF-8 with a byte-order mark, want"},
		{"UTF-16, little end first", "\xff\xfe{\x00}\x00", "f:1:1: the file is UTF-16, want"},
		{"UTF-16, big end first", "\xfe\xff\x00{\x00}", "f:1:1: the file is UTF-16, want"},
		{"no JSON", "card_index: 1", "f:1:1: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var v sample
			err := Unmarshal("f", []byte(tt.data), &v)
			if tt.want == "" {
				if err != nil || v.Host.Card != 1 {
					t.Fatalf("got %+v, %v", v, err)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Fatalf("got %q, want %q...", err, tt.want)
			}
		})
	}
}

// For any bytes, the error names the file and a place inside it.
func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(`{"host": {"card_index": 1}, "list": [1, 2]}`))
	f.Add([]byte("{\n\"x\":"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var v sample
		if err := Unmarshal("f", data, &v); err != nil && !strings.HasPrefix(err.Error(), "f:") {
			t.Fatalf("no place in %q", err)
		}
	})
}
