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
	List []int `json:"list"`
}

func TestUnmarshal(t *testing.T) {
	tests := []struct{ name, data, want string }{
		{"good", `{"host": {"card_index": 1}, "list": [1, 2]}`, ""},
		{"empty", ``, "f:1:1: "},
		{"unknown", "{\n  \"host\": {\n    \"card\": 1}}", "f:3:5: host.card: unknown key"},
		{"unknown at the top", `{"hots": {}}`, "f:1:2: hots: unknown key"},
		{"wrong type", "{\"host\":\n {\"card_index\": \"one\"}}", "f:2:17: host.card_index: cannot take a JSON string here, want int"},
		{"not a whole number", `{"host": {"card_index": 1.5}}`, "f:1:25: host.card_index: "},
		{"twice", `{"list": [], "list": []}`, "f:1:14: list: duplicate object member name"},
		{"torn", "{\"host\": {", "f:1:11: "},
		{"tail", "{}\n{}", "f:2:1: "},
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

// Whatever the bytes, an error names the file and a place inside it.
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
