package qga

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"testing"
)

// splitChunk returns the same as encoding/json.
func FuzzSplitChunk(f *testing.F) {
	for _, s := range []string{
		`{"count": 3, "buf-b64": "AP8K", "eof": false}`,
		`{"eof":true,"buf-b64":"","count":0}`,
		`{"buf-b64": "\u0041A==", "eof": true}`,
		`{"buf-b64": "AP\/K", "eof": true}`,
		`{"buf-b64": 7}`,
		`{"buf-b64`,
		`{"a": "\"buf-b64\": \"x\"", "buf-b64": "AA=="}`,
		`{"count": 1}`,
		`{"buf-b64": "AA==", "buf-b64": "AP8K"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, reply []byte) {
		if bytes.Count(reply, []byte("buf-b64")) > 1 || bytes.Contains(bytes.ToLower(reply), []byte(`\u`)) {
			return // the agent writes each key once, without escapes
		}
		var want struct {
			Data []byte `json:"buf-b64"`
			EOF  bool
		}
		wrong := json.Unmarshal(reply, &want)
		text, eof, err := splitChunk(reply)
		var data []byte
		if err == nil {
			data, err = decode(text)
		}
		if wrong == nil && (err != nil || eof != want.EOF || !bytes.Equal(data, want.Data)) {
			t.Errorf("%s: %q, %v, %v, want %q, %v", reply, data, eof, err, want.Data, want.EOF)
		}
		if err == nil && len(text) > 0 && base64.StdEncoding.EncodedLen(len(data)) > len(text)+4 {
			t.Errorf("%s: %q from %q", reply, data, text)
		}
	})
}
