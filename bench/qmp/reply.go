package qmp

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// A reply is what answers a request.
type reply struct {
	ID     any
	Return json.RawMessage
	Error  *Error
}

// parseReply reports false for what is no reply.
func parseReply(line []byte) (m reply, ok bool) {
	if m, ok := splitReply(line); ok {
		return m, true
	}
	ok = json.Unmarshal(line, &m) == nil && (m.Return != nil || m.Error != nil)
	return m, ok
}

// longReply is the length from which a reply is worth being split by hand. encoding/json goes over
// it twice, at a cost as high as that of all else that is done with it.
const longReply = 4 << 10

// splitReply takes long replies apart that are written as QEMU and its agent do: {"return": {...},
// "id": "..."}. What is in between is looked at by whoever unmarshals it.
func splitReply(line []byte) (m reply, ok bool) {
	const begin, key, end = `{"return": `, `, "id": "`, `"}`
	if len(line) < longReply || !bytes.HasPrefix(line, []byte(begin)) || !bytes.HasSuffix(line, []byte(end)) {
		return reply{}, false
	}
	line = line[len(begin) : len(line)-len(end)]
	at := bytes.LastIndex(line, []byte(key))
	if at < 1 || line[0] != '{' || line[at-1] != '}' {
		return reply{}, false
	}
	id := line[at+len(key):]
	if bytes.ContainsAny(id, `"\`) || !utf8.Valid(id) {
		return reply{}, false
	}
	return reply{ID: string(id), Return: json.RawMessage(line[:at])}, true
}
