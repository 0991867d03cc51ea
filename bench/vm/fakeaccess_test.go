package vm

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"

	"vmtb/internal/fake/fakeqmp"
)

// people answers the commands for users' access and those for evidence, as QEMU 10.0.2 does.
func (f *fake) people(r fakeqmp.Request) (any, error) {
	var args struct {
		Line     string `json:"command-line"`
		Filename string
		Format   string
		Protocol string
	}
	if len(r.Args) > 0 {
		if err := json.Unmarshal(r.Args, &args); err != nil {
			return nil, err
		}
	}
	switch r.Cmd {
	case "query-vnc":
		return f.vnc(), nil
	case "query-chardev":
		return []map[string]string{
			{"label": "qmp", "filename": "unix:x <-> y"}, {"label": ConsoleSocket, "filename": f.console.filename()},
		}, nil
	case "screendump":
		if !f.does("display") {
			return nil, fakeqmp.Failure{Class: "GenericError", Desc: "There is no console to take a screendump from"}
		}
		return struct{}{}, os.WriteFile(args.Filename, []byte(args.Format), 0o600)
	case "human-monitor-command":
		if strings.Contains(string(r.Args), "i /h 0x602") { // PM1_EN, as QEMU 10.0.2 prints it
			return map[bool]string{
				true: "portw[0x0602] = 0x0120\r\n", false: "portw[0x0602] = 0x0020\r\n",
			}[f.does("button")], nil
		}
		return f.hmp(args.Line)
	case "query-dump-guest-memory-capability":
		return map[string]any{"formats": []string{"elf", "kdump-zlib"}}, nil
	case "dump-guest-memory":
		f.dump(strings.TrimPrefix(args.Protocol, "file:"), args.Format)
	case "query-block":
		return nil, fakeqmp.Failure{Class: "GenericError", Desc: "no blocks today"}
	}
	return struct{}{}, nil
}

// vnc replies that QEMU has taken port 5903, for any wanted port.
func (f *fake) vnc() any {
	host := "0.0.0.0"
	if strings.Contains(f.argv, "\n127.0.0.1:") {
		host = "127.0.0.1"
	}
	return map[string]any{"enabled": true, "host": host, "service": "5903", "family": "ipv4", "auth": "vnc"}
}

func (f *fake) hmp(line string) (any, error) {
	switch line {
	case "info usernet":
		return usernet, nil
	case "info registers -a":
		if f.does("hangs") {
			return nil, fakeqmp.ErrSilence
		}
		return "\r\nCPU#0\r\nRIP=ffffffff81000000\r\n", nil
	}
	return nil, fmt.Errorf("unknown command %q", line)
}

func (f *fake) dump(file, format string) {
	result := map[string]any{"result": map[string]any{"total": 4, "status": "completed", "completed": 4}}
	if err := os.WriteFile(file, []byte(format), 0o600); err != nil || f.does("fails-to-dump") {
		result = map[string]any{"result": map[string]any{"status": "failed"}, "error": "dump: failed to save memory"}
	}
	f.qmp.Event("DUMP_COMPLETED", result)
}

// A fakeConsole serves one client at a time, and echoes its input.
type fakeConsole struct{ attached atomic.Bool }

func (c *fakeConsole) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		c.attached.Store(true)
		_, _ = io.Copy(conn, conn)
		conn.Close()
		c.attached.Store(false)
	}
}

func (c *fakeConsole) filename() string {
	if c.attached.Load() {
		return "unix:/run/console,server=on <-> "
	}
	return "disconnected:unix:/run/console,server=on"
}
