package qga_test

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"
	"time"

	"vmtb/bench/qga"
	"vmtb/internal/fake/fakeqga"
)

// With any data in the channel, the client reaches the agent, and accepts only real replies.
func FuzzSync(f *testing.F) {
	for _, seed := range []string{
		"", "\xff", `{"return": 1}`, `{"return": 1, "id": "x"}` + "\n",
		`{"error": {"class": "GenericError", "desc": ""}}` + "\n",
		"\xff" + `{"return": 77}` + "\n" + `{"return": {"pid"`, "\n\n\x00", `{"return": null, "id": null}` + "\n",
	} {
		f.Add([]byte(seed), []byte(seed))
	}
	f.Fuzz(func(t *testing.T, before, between []byte) {
		c, peer := connect(t, qga.Options{})
		go func() {
			r, err := peer.Next()
			if err != nil {
				return
			}
			_ = peer.Send(string(before))
			_ = fakeqga.Sync(peer, r)
			_ = peer.Send(string(bytes.ReplaceAll(between, []byte("\n"), nil)) + "\n") // a reply starts a line
			_ = fakeqga.Serve(peer.Conn, fakeqga.Commands{
				"guest-get-time": func(json.RawMessage) (any, error) { return 42, nil },
			})
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var got int
		if err := c.Execute(ctx, "guest-get-time", nil, &got); err != nil || got != 42 {
			t.Errorf("got %d, %v", got, err)
		}
	})
}
