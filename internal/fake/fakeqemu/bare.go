package fakeqemu

import (
	"context"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"

	"vmtb/internal/fake/fakeqmp"
)

// Bare plays a QEMU without a guest to its end, if args are those with which package vm starts one.
// Its monitor accepts every command.
func Bare(args []string) (code int, ran bool) {
	if len(args) < 2 || args[1] != "-name" {
		return 0, false
	}
	if err := bare(context.Background(), strings.Join(args, "\n")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2, true
	}
	return 0, true
}

func bare(ctx context.Context, args string) error {
	monitor, err := listenAt(ctx, args, "qmp")
	if err != nil {
		return err
	}
	agent, err := listenAt(ctx, args, "agent")
	if err != nil {
		return err
	}
	defer agent.Close()
	conn, err := monitor.Accept()
	if err != nil {
		return err
	}
	p := fakeqmp.New(conn)
	if p.Negotiate() != nil {
		return nil // the client has disconnected
	}
	_ = p.Serve(func(r fakeqmp.Request) (any, error) { // it ends when the client disconnects
		if r.Cmd == "human-monitor-command" {
			return "RIP=0\r\n", nil
		}
		return struct{}{}, nil
	})
	return nil
}

// listenAt listens on the socket of a character device in QEMU's arguments.
func listenAt(ctx context.Context, args, id string) (net.Listener, error) {
	m := regexp.MustCompile(`socket,id=` + id + `,path=([^,]*)`).FindStringSubmatch(args)
	if m == nil {
		return nil, fmt.Errorf("QEMU is given no socket %s", id)
	}
	return new(net.ListenConfig).Listen(ctx, "unix", m[1])
}
