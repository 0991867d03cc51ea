package fakeqga

import (
	"encoding/json"
	"fmt"
	"net"

	"vmtb/internal/fake/fakeqmp"
)

// Commands are the agent's commands. A handler gets the arguments and returns the reply's value, or
// an error as in [fakeqmp.Peer.Serve].
type Commands map[string]func(args json.RawMessage) (any, error)

// Serve answers requests over conn until the connection ends.
func Serve(conn net.Conn, commands Commands) error {
	p := fakeqmp.New(conn)
	return p.Serve(func(r fakeqmp.Request) (any, error) {
		if r.Resync {
			if err := p.Send(
				`{"error": {"class": "GenericError", "desc": "JSON parse error, stray '\u00ff'"}}` + "\n",
			); err != nil {
				return nil, err
			}
		}
		if handle := commands[r.Cmd]; handle != nil {
			return handle(r.Args)
		}
		if r.Cmd != "guest-sync-delimited" {
			return nil, fakeqmp.Failure{
				Class: "CommandNotFound", Desc: fmt.Sprintf("The command %s has not been found", r.Cmd),
			}
		}
		return nil, Sync(p, r)
	})
}

// Sync answers a guest-sync-delimited. It returns [fakeqmp.ErrSilence], because it has sent the
// answer itself.
func Sync(p *fakeqmp.Peer, r fakeqmp.Request) error {
	var args struct{ ID json.Number }
	if err := json.Unmarshal(r.Args, &args); err != nil {
		return fakeqmp.Failure{Class: "GenericError", Desc: "Parameter 'id' is missing"}
	}
	if err := p.Send(fmt.Sprintf("\xff{\"return\": %s, \"id\": %s}\n", args.ID, r.ID)); err != nil {
		return err
	}
	return fakeqmp.ErrSilence
}
