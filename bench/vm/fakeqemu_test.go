package vm

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"

	"vmtb/internal/fake/fakeqga"
	"vmtb/internal/fake/fakeqmp"
)

// fakeQEMU plays QEMU with a guest in a separate process, if the test binary was started with
// QEMU's arguments. The last argument follows -fake. Its words are abilities and faults.
func fakeQEMU(args []string) (code int, ran bool) {
	if len(args) < 3 || args[1] != "-name" {
		return 0, false
	}
	f := fake{argv: strings.Join(args, "\n"), can: strings.Fields(args[len(args)-1]), status: "prelaunch"}
	if f.does("refuses") {
		fmt.Fprintln(
			os.Stderr,
			"qemu: -device vfio-pci,host=0000:03:00.1,id=vf0: vfio 0000:03:00.1: failed to open /dev/vfio/7: Device "+
				"or resource busy",
		)
		return 1, true
	}
	monitor, agent := f.listen(args, qmpSocket), f.listen(args, agentSocket)
	conn, err := monitor.Accept()
	if err != nil {
		return 2, true
	}
	if f.does("mute") {
		select {}
	}
	f.qmp = fakeqmp.New(conn)
	if err := f.qmp.Negotiate(); err != nil {
		return 2, true
	}
	go f.serveAgent(agent)
	go f.console.serve(f.listen(args, ConsoleSocket))
	if err := f.qmp.Serve(f.command); err != nil {
		return 2, true
	}
	select {} // QEMU, too, survives the end of its client
}

type fake struct {
	woken  bool // awake, but its agent's port has not closed and opened since
	can    []string
	status string
	booted bool
	qmp    *fakeqmp.Peer
	argv   string

	console fakeConsole
}

func (f *fake) does(what string) bool { return slices.Contains(f.can, what) }

func (f *fake) listen(args []string, id string) net.Listener {
	path := regexp.MustCompile(`socket,id=` + id + `,path=([^,]*)`).FindStringSubmatch(strings.Join(args, "\n"))[1]
	l, err := net.Listen("unix", path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return l
}

func (f *fake) command(r fakeqmp.Request) (any, error) {
	switch r.Cmd {
	case "cont":
		f.status = "running"
		f.qmp.Event("RESUME", nil)
		if !f.booted {
			f.booted = true
			go f.boot()
		}
	case "stop":
		if !f.does("ignores-stop") {
			f.status = "paused"
			f.qmp.Event("STOP", nil)
		}
	case "fake-sleep":
		f.status = "suspended"
		f.qmp.Event("SUSPEND", nil)
	case "query-current-machine":
		return map[string]any{"wakeup-suspend-support": !f.does("no-wakeup")}, nil
	case "query-migrate":
		if f.does("blocked") {
			return map[string]any{
				"blocked-reasons": []string{"0000:03:00.1: VFIO migration is not supported in kernel"},
			}, nil
		}
	case "query-named-block-nodes":
		return []any{}, nil
	case "query-status":
		return map[string]string{"status": f.status}, nil
	case "system_powerdown":
		if f.does("acpi") {
			f.end("guest-shutdown")
		}
	case "system_wakeup":
		f.status, f.woken = "running", true
		f.qmp.Event("WAKEUP", nil)
	case "quit":
		if !f.does("ignores-quit") {
			f.end("host-qmp-quit")
		}
	default:
		return f.people(r)
	}
	return struct{}{}, nil
}

// boot plays the boot of the guest.
func (f *fake) boot() {
	switch {
	case f.does("panics"):
		f.status = "guest-panicked"
		f.qmp.Event("GUEST_PANICKED", map[string]string{"action": "pause"})
	case f.does("breaks"):
		fmt.Fprintln(os.Stderr, "KVM internal error. Suberror: 1")
		f.status = "internal-error"
		f.qmp.Event("STOP", nil)
	case f.does("crashes"):
		fmt.Fprintln(os.Stderr, "Assertion failed")
		os.Exit(3)
	case f.does("resets"):
		f.end("guest-reset")
	case f.does("agent"):
		f.qmp.Event("VSERPORT_CHANGE", map[string]any{"id": agentPort, "open": true})
	default:
		f.qmp.Event("VSERPORT_CHANGE", map[string]any{"id": "another", "open": true})
	}
}

func (f *fake) end(reason string) {
	f.qmp.Event("SHUTDOWN", map[string]any{"guest": strings.HasPrefix(reason, "guest"), "reason": reason})
	os.Exit(0)
}

// An unheard is a connection to an agent. After the guest's sleep the agent reads nothing from it.
type unheard struct {
	net.Conn
	f *fake
}

func (u unheard) Read(b []byte) (int, error) {
	for {
		if n, err := u.Conn.Read(b); err != nil || u.f.status == "running" && !u.f.woken {
			return n, err
		}
	}
}

func (f *fake) serveAgent(l net.Listener) {
	conn, err := l.Accept()
	if err != nil || f.does("deaf") {
		return
	}
	if f.does("unheard") {
		go fakeqga.Serve(unheard{conn, f}, f.sleeper())
		if conn, err = l.Accept(); err != nil {
			return
		}
	}
	if f.does("sleeper") {
		fakeqga.Serve(conn, f.sleeper())
		return
	}
	fakeqga.Serve(conn, fakeqga.Commands{
		"guest-shutdown": func(json.RawMessage) (any, error) {
			switch {
			case f.does("shutdown"):
				f.end("guest-shutdown")
			case f.does("crash-at-shutdown"):
				os.Exit(3)
			case f.does("refuses-shutdown"):
				return nil, fakeqmp.Failure{Class: "GenericError", Desc: "child process has failed to shutdown"}
			}
			return nil, fakeqmp.ErrSilence
		},
		"guest-file-open": func(json.RawMessage) (any, error) {
			if f.does("panics-later") {
				f.status = "guest-panicked"
				f.qmp.Event("GUEST_PANICKED", nil)
			}
			if f.does("crashes-later") {
				os.Exit(3)
			}
			return nil, fakeqmp.ErrSilence
		},
	})
}
