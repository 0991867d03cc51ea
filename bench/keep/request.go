package keep

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// A request is the first line of a connection.
type request struct {
	Operation string          `json:"operation"`
	Args      json.RawMessage `json:"args,omitempty"`
}

const (
	// maxRequest limits the first line in bytes: a command's arguments and its environment.
	maxRequest = 8 << 20
	// requestTime limits the wait for the first line.
	requestTime = time.Minute
	// maxChunk limits a piece of the input in bytes.
	maxChunk = 1 << 20
)

// sendRequest writes the first line and then the input, which may be nil. The input is sent in
// pieces. Each piece has its length in four bytes before it, and a length of 0 ends the input. If
// the connection ends before that length, the input was cut off.
func sendRequest(conn io.Writer, r request, in io.Reader) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := conn.Write(append(line, '\n')); err != nil {
		return err
	}
	if in == nil {
		return sendChunk(conn, nil)
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := in.Read(buf)
		if n > 0 {
			if err := sendChunk(conn, buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return sendChunk(conn, nil)
		case err != nil:
			return &inputError{err}
		}
	}
}

func sendChunk(w io.Writer, data []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...))
	return err
}

// An inputError is an error of the reader that supplies an operation's input.
type inputError struct{ error }

func (e *inputError) Unwrap() error { return e.error }

// readRequest reads the first line. It returns io.EOF if the client only checked whether somebody
// listens.
func readRequest(r *bufio.Reader) (q request, err error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxRequest:
			return q, fmt.Errorf("the request is larger than %d MiB", maxRequest>>20)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return q, err
		}
		return q, json.Unmarshal(line, &q)
	}
}

// readInput writes the pieces of the input to w, and closes w at their end. It returns when the
// connection ends.
func readInput(r io.Reader, w *io.PipeWriter) {
	var size [4]byte
	for {
		if _, err := io.ReadFull(r, size[:]); err != nil {
			w.CloseWithError(io.ErrUnexpectedEOF)
			return
		}
		n := binary.BigEndian.Uint32(size[:])
		if n == 0 {
			break
		}
		if n > maxChunk {
			w.CloseWithError(fmt.Errorf("the input has a piece of %d bytes, which is too large", n))
			return
		}
		if _, err := io.CopyN(w, r, int64(n)); err != nil {
			w.CloseWithError(io.ErrUnexpectedEOF)
			return
		}
	}
	w.Close()
	_, _ = io.Copy(io.Discard, r) // no more data comes; this waits for the end of the connection
}

// converse requests an operation on a connection, reads the answer, and closes the connection. If
// in fails, it returns that error after the keeper has ended the operation. Then the caller may
// remove the operation's results.
func converse(ctx context.Context, conn net.Conn, r request, in io.Reader, o Output, result any) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	sent := make(chan error, 1)
	go func() {
		err := sendRequest(conn, r, in)
		sent <- err
		if errors.As(err, new(*inputError)) {
			_ = conn.(*net.UnixConn).CloseWrite() // tells the keeper that the input was cut off
		}
	}()
	err := receive(conn, o, result)
	if err == nil {
		return nil // the operation may not need all of the input
	}
	select {
	case sendErr := <-sent:
		if errors.As(sendErr, new(*inputError)) {
			return sendErr
		}
	default:
	}
	return err
}
