package qga

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
)

// read returns the next chunk of the file. An empty chunk means that there is no more data for now.
func (f file) read(ctx context.Context) ([]byte, error) {
	text, _, err := f.request(ctx, chunk)
	if err != nil {
		return nil, err
	}
	data, err := decode(text)
	return data, pathError("read", f.path, err)
}

// readAll reads to the end of the file.
func (f file) readAll(ctx context.Context) ([]byte, error) {
	var chunks [][]byte
	err := f.readEach(ctx, func(data []byte) error {
		chunks = append(chunks, data)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return slices.Concat(chunks...), nil
}

// readEach passes each chunk to take, up to the end. It decodes a chunk while the agent reads the
// next one.
func (f file) readEach(ctx context.Context, take func([]byte) error) error {
	for next := f.askAhead(ctx, chunk); next != nil; {
		a := <-next
		if a.err != nil {
			return a.err
		}
		next = nil
		if !a.eof {
			next = f.askAhead(ctx, longChunk)
		}
		data, err := decode(a.text)
		if err != nil {
			return pathError("read", f.path, err)
		}
		if err := take(data); err != nil {
			if next != nil {
				<-next // the agent answers before the file is closed
			}
			return err
		}
	}
	return nil
}

type answer struct {
	text []byte // base64
	eof  bool
	err  error
}

func (f file) askAhead(ctx context.Context, count int) <-chan answer {
	next := make(chan answer, 1)
	go func() {
		text, eof, err := f.request(ctx, count)
		next <- answer{text, eof, err}
	}()
	return next
}

// request asks for up to count bytes, and reports whether the end was reached.
func (f file) request(ctx context.Context, count int) (text []byte, eof bool, err error) {
	var reply json.RawMessage
	if err := f.do(ctx, "read", map[string]any{"count": count}, &reply); err != nil {
		return nil, false, err
	}
	text, eof, err = splitChunk(reply)
	return text, eof, pathError("read", f.path, err)
}

// splitChunk returns the base64 text in a reply to guest-file-read. It avoids encoding/json, which
// scans a text four times and took longer than the agent's own work.
func splitChunk(reply []byte) (text []byte, eof bool, err error) {
	var rest struct {
		Text string `json:"buf-b64"`
		EOF  bool
	}
	if before, after, ok := bytes.Cut(reply, []byte(`"buf-b64"`)); ok {
		after = bytes.TrimLeft(after, ": ")
		if len(after) > 0 && after[0] == '"' {
			if end := bytes.IndexByte(after[1:], '"'); end > 0 && bytes.IndexByte(after[1:1+end], '\\') < 0 {
				text = after[1 : 1+end]
				reply = slices.Concat(before, []byte(`"buf-b64": "`), after[1+end:])
			}
		}
	}
	if err := json.Unmarshal(reply, &rest); err != nil {
		return nil, false, err
	}
	if text == nil {
		text = []byte(rest.Text)
	}
	return text, rest.EOF, nil
}

func decode(text []byte) ([]byte, error) {
	data := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(data, text)
	return data[:n], err
}
