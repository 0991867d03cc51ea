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
	// maxRequest bounds the first line: the arguments of a command, and its environment.
	maxRequest = 8 << 20
	// requestTime bounds the wait for the first line.
	requestTime = time.Minute
	// maxChunk bounds a piece of the input.
	maxChunk = 1 << 20
)

// sendRequest writes the first line and then the input, which may be nil: pieces with their length
// in four bytes before them, and a length of 0 at its end. A connection that ends before that
// length was cut off.
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

// An inputError is the error of the reader whose data an operation gets.
type inputError struct{ error }

func (e *inputError) Unwrap() error { return e.error }

// readRequest reads the first line. io.EOF is a client that only looked whether somebody listens.
func readRequest(r *bufio.Reader) (q request, err error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxRequest:
			return q, fmt.Errorf("a request of more than %d MiB", maxRequest>>20)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return q, err
		}
		return q, json.Unmarshal(line, &q)
	}
}

// readInput writes the pieces of the input to w, and closes that at their end. Then it waits until
// the connection ends, and returns.
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
			w.CloseWithError(fmt.Errorf("a piece of input of %d bytes", n))
			return
		}
		if _, err := io.CopyN(w, r, int64(n)); err != nil {
			w.CloseWithError(io.ErrUnexpectedEOF)
			return
		}
	}
	w.Close()
	_, _ = io.Copy(io.Discard, r) // nothing more comes; its end is that of the connection
}

// converse asks for an operation on a connection, and reads the answer. It ends the connection. If
// in fails it returns that error, and not before the keeper has ended the operation: what that has
// left may be removed then.
func converse(ctx context.Context, conn net.Conn, r request, in io.Reader, o Output, result any) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	sent := make(chan error, 1)
	go func() {
		err := sendRequest(conn, r, in)
		sent <- err
		if errors.As(err, new(*inputError)) {
			_ = conn.(*net.UnixConn).CloseWrite() // the keeper sees that the input was cut off
		}
	}()
	err := receive(conn, o, result)
	if err == nil {
		return nil // the operation may not have wanted all of the input
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
