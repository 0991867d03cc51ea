package fakeqemu

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"

	"vmtb/internal/fake/fakeqmp"
)

// Bare plays a QEMU without a guest if args are those of a QEMU that package vm starts. Its monitor accepts every command.
func Bare(args []string) (ran bool) {
	if len(args) < 2 || args[1] != "-name" {
		return false
	}
	listen := func(id string) net.Listener {
		path := regexp.MustCompile(`socket,id=` + id + `,path=([^,]*)`).FindStringSubmatch(strings.Join(args, "\n"))[1]
		l, err := net.Listen("unix", path)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		return l
	}
	monitor, _ := listen("qmp"), listen("agent")
	conn, err := monitor.Accept()
	if err != nil {
		return true
	}
	p := fakeqmp.New(conn)
	if err := p.Negotiate(); err != nil {
		return true
	}
	_ = p.Serve(func(r fakeqmp.Request) (any, error) {
		if r.Cmd == "human-monitor-command" {
			return "RIP=0\r\n", nil
		}
		return struct{}{}, nil
	})
	return true
}
