package qmp_test

import (
	"bytes"
	"errors"
	"testing"

	"vmtb/bench/qmp"
)

// For all input, the client ends with the connection. A reply always has the id of its request
// ("ID" in the input).
func FuzzClient(f *testing.F) {
	for _, seed := range []string{
		`{"return": "yes", "id": "ID"}` + "\n",
		`{"event": "STOP", "data": {"a": [1, 2]}, "timestamp": {"seconds": 1, "microseconds": 2}}` + "\n" +
			`{"id": "ID", "return": "yes"}` + "\r\n",
		`{"return": "no", "id": "other"}` + "\n\n\n" + `{"return": "no", "id": 5}` + "\n",
		`{"error": {"class": "GenericError", "desc": "d"}, "id": "ID"}` + "\n",
		`{"error": {"class": "GenericError", "desc": "d"}}` + "\n",
		`{"return": ` + "\xff" + `{"return": "yes", "id": "ID"}` + "\n",
		"\x00\xff\xfe{", `{"QMP": {}}` + "\n", `{"event": 7}` + "\n", `{"error": "text", "id": "ID"}` + "\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		c, peer := connect(t, qmp.Options{})
		sub := c.Subscribe(nil)
		go func() {
			defer peer.Conn.Close()
			r, err := peer.Next()
			if err != nil {
				return
			}
			_ = peer.Send(string(bytes.ReplaceAll(input, []byte(`"ID"`), r.ID)))
		}()
		var got any
		err := c.Execute(t.Context(), "query-x", nil, &got)
		if err == nil && !bytes.Contains(input, []byte("ID")) {
			t.Errorf("%q was taken for the reply", got)
		}
		<-c.Done()
		if !errors.Is(c.Err(), qmp.ErrClosed) {
			t.Error(c.Err())
		}
		for {
			if _, err := sub.Next(t.Context()); err != nil {
				break
			}
		}
	})
}
