package qmp

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// A reply is the answer to a request.
type reply struct {
	ID     any
	Return json.RawMessage
	Error  *Error
}

// parseReply parses a line. It returns false if the line is not a reply.
func parseReply(line []byte) (m reply, ok bool) {
	if m, ok := splitReply(line); ok {
		return m, true
	}
	ok = json.Unmarshal(line, &m) == nil && (m.Return != nil || m.Error != nil)
	return m, ok
}

// longReply is the length in bytes from which splitReply handles a reply instead of encoding/json.
// encoding/json scans a reply twice, which costs as much as all other work on it.
const longReply = 4 << 10

// splitReply splits long replies in the format of QEMU and its agent: {"return": {...}, "id":
// "..."}. It does not check the value of "return"; Unmarshal does that later.
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
