package fakeqemu

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"vmtb/internal/fake/fakeqga"
	"vmtb/internal/fake/fakeqmp"
)

// Flag is the option of the fake. The argument after it, the last one, are words:
//
//	dir=PATH           where the log of commands and the marks of faults go
//	agent              the guest has an agent
//	stubborn           which takes the order to shut down, a fault, and does nothing
//	deaf-after-move    which does not answer after a migration
//	false              whose commands all fail
//	lagging            a migration has completed when the state still is finish-migrate: it ends when
//	                   QEMU has been asked for it a few times
//	ROLE:FAULT:CMD:N   the Nth CMD that a QEMU gets (from 1) has FAULT; ROLE is "from", or "to" for one
//	                   that was started to take over a state. FAULT is "refuse", "crash", or "mute":
//	                   obeyed, but not answered
const Flag = "-fakeqemu"

// LogFile is the log of all commands in the directory of the word dir: lines of "ROLE CMD".
const LogFile = "commands"

// faultFile is created in the same directory when a fault has happened.
const faultFile = "fault"

// WaitFault returns when a fault has happened, or ctx has ended.
func WaitFault(ctx context.Context, dir string) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil && !Faulted(dir) {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// Faulted reports whether a fault has happened. How often a command is given may depend on a race.
func Faulted(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, faultFile))
	return err == nil
}

// Play plays QEMU to its end if args are those of a fake.
func Play(args []string) (code int, ran bool) {
	if len(args) < 3 || args[len(args)-2] != Flag {
		return 0, false
	}
	q := &qemu{
		args: strings.Join(args, "\n"), words: strings.Fields(args[len(args)-1]), role: "from", status: "prelaunch",
		counts: map[string]int{},
	}
	if slices.Contains(args, "-incoming") {
		q.role, q.status = "to", "inmigrate"
	}
	monitor, agent := q.listen("qmp"), q.listen("agent")
	console := q.listen("console")
	conn, err := monitor.Accept()
	if err != nil {
		return 2, true
	}
	q.qmp = fakeqmp.New(conn)
	if err := q.qmp.Negotiate(); err != nil {
		return 2, true
	}
	go q.serveAgent(agent)
	go func() { _, _ = console.Accept() }()
	_ = q.qmp.Serve(q.command)
	select {} // as QEMU does when its client disconnects
}

type qemu struct {
	args   string
	words  []string
	role   string
	qmp    *fakeqmp.Peer
	counts map[string]int

	mu        sync.Mutex
	status    string
	migration string
	booted    bool
	lags      int // number of status queries that still get the old status
}

func (q *qemu) listen(id string) net.Listener {
	m := regexp.MustCompile(`socket,id=` + id + `,path=([^,\n]*)`).FindStringSubmatch(q.args)
	l, err := listen(m[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		exit(2)
	}
	return l
}

func listen(path string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(context.Background(), "unix", path)
}

// exit ends this process, which plays QEMU.
func exit(code int) { os.Exit(code) } //nolint:forbidigo // as QEMU does

func (q *qemu) dir() string {
	for _, w := range q.words {
		if dir, ok := strings.CutPrefix(w, "dir="); ok {
			return dir
		}
	}
	return os.DevNull
}

// exec logs a command for the guest: "ROLE exec PROGRAM", and its last argument.
func (q *qemu) exec(args json.RawMessage) (any, error) {
	var a struct {
		Path string
		Arg  []string
	}
	_ = json.Unmarshal(args, &a) // after an error it is logged as nothing
	line := append([]string{"exec", filepath.Base(a.Path)}, a.Arg[max(0, len(a.Arg)-1):]...)
	q.log(line...)
	return map[string]int{"pid": 1}, nil
}

func (q *qemu) execStatus(json.RawMessage) (any, error) {
	code := 0
	if slices.Contains(q.words, "false") {
		code = 1
	}
	return map[string]any{"exited": true, "exitcode": code}, nil
}

// log appends "ROLE WORD..." to the log of commands.
func (q *qemu) log(words ...string) {
	if log, err := os.OpenFile(
		filepath.Join(q.dir(), LogFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600,
	); err == nil {
		fmt.Fprintln(log, q.role, strings.Join(words, " "))
		log.Close()
	}
}

// command logs a command, and carries it out unless it has a fault.
func (q *qemu) command(r fakeqmp.Request) (any, error) {
	q.counts[r.Cmd]++
	q.log(r.Cmd)
	fault := func(kind string) bool {
		return slices.Contains(q.words, fmt.Sprintf("%s:%s:%s:%d", q.role, kind, r.Cmd, q.counts[r.Cmd]))
	}
	mark := func() { _ = os.WriteFile(filepath.Join(q.dir(), faultFile), nil, 0o600) }
	switch {
	case fault("refuse"):
		mark()
		return nil, fakeqmp.Failure{Class: "GenericError", Desc: "the test says no"}
	case fault("crash"):
		mark()
		exit(3)
	case fault("mute"):
		_, _ = q.obey(r)
		mark()
		return nil, fakeqmp.ErrSilence
	}
	return q.obey(r)
}

func (q *qemu) obey(r fakeqmp.Request) (any, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch r.Cmd {
	case "cont":
		q.status = "running"
		_ = q.qmp.Event("RESUME", nil)
		if !q.booted && q.role == "from" && slices.Contains(q.words, "agent") {
			_ = q.qmp.Event("VSERPORT_CHANGE", map[string]any{"id": "agent-port", "open": true})
		}
		q.booted = true
	case "stop":
		q.status = "paused"
		_ = q.qmp.Event("STOP", nil)
	case "query-status":
		return map[string]string{"status": q.reportedStatus()}, nil
	case "query-migrate":
		return map[string]any{"status": q.migration}, nil
	case "query-named-block-nodes":
		return []any{}, nil
	case "migrate-incoming":
		return struct{}{}, q.incoming(r.Args)
	case "migrate":
		q.status = "finish-migrate"
		_ = q.qmp.Event("STOP", nil)
		q.outgoing(r.Args)
	case "migrate_cancel":
		if q.migration == "active" {
			q.ended("cancelled", "running")
		}
	case "human-monitor-command":
		return "portw[0x0602] = 0x0000\r\n", nil
	case "quit":
		exit(0)
	}
	return struct{}{}, nil
}

// reportedStatus returns the status, which may be outdated. The caller holds q.mu.
func (q *qemu) reportedStatus() string {
	status := q.status
	if q.lags > 0 {
		if q.lags--; q.lags == 0 {
			q.status = "postmigrate"
		}
	}
	return status
}

func uriOf(args json.RawMessage) string {
	var a struct{ URI string }
	_ = json.Unmarshal(args, &a) // no file or socket has the name ""
	return a.URI
}

// incoming receives a state.
func (q *qemu) incoming(args json.RawMessage) error {
	take, err := source(uriOf(args))
	if err != nil {
		return fakeqmp.Failure{Class: "GenericError", Desc: err.Error()}
	}
	go func() {
		state, err := take()
		q.mu.Lock()
		defer q.mu.Unlock()
		if err != nil || string(state) != "whole" {
			fmt.Fprintln(os.Stderr, "half a state")
			exit(1) // as QEMU does
		}
		q.ended("completed", "paused") // QEMU was started with -S
	}()
	return nil
}

// source returns the source of a state.
func source(uri string) (take func() ([]byte, error), err error) {
	if file, ok := strings.CutPrefix(uri, "file:"); ok {
		return func() ([]byte, error) { return os.ReadFile(file) }, nil
	}
	l, err := listen(strings.TrimPrefix(uri, "unix:"))
	return func() ([]byte, error) {
		conn, err := l.Accept()
		if err != nil {
			return nil, err
		}
		return io.ReadAll(conn)
	}, err
}

// outgoing sends the state. The caller holds q.mu.
func (q *qemu) outgoing(args json.RawMessage) {
	if err := giveAway("whole", args); err != nil {
		q.ended("failed", "running")
		return
	}
	if slices.Contains(q.words, "lagging") {
		q.lags = 5
		q.ended("completed", "finish-migrate")
		return
	}
	q.ended("completed", "postmigrate")
}

func giveAway(state string, args json.RawMessage) error {
	if file, ok := strings.CutPrefix(uriOf(args), "file:"); ok {
		return os.WriteFile(file, []byte(state), 0o600)
	}
	conn, err := new(net.Dialer).DialContext(context.Background(), "unix", strings.TrimPrefix(uriOf(args), "unix:"))
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = io.WriteString(conn, state)
	return err
}

// ended ends a migration. The caller holds q.mu.
func (q *qemu) ended(migration, status string) {
	q.migration, q.status = migration, status
	_ = q.qmp.Event("MIGRATION", map[string]string{"status": migration})
}

func (q *qemu) serveAgent(l net.Listener) {
	conn, err := l.Accept()
	if err != nil || q.role == "to" && slices.Contains(q.words, "deaf-after-move") {
		return
	}
	none := func(json.RawMessage) (any, error) { return struct{}{}, nil }
	commands := fakeqga.Commands{
		"guest-set-time": none, "guest-ping": none, "guest-exec": q.exec, "guest-exec-status": q.execStatus,
	}
	if slices.Contains(q.words, "stubborn") {
		commands["guest-shutdown"] = func(json.RawMessage) (any, error) {
			_ = os.WriteFile(filepath.Join(q.dir(), faultFile), nil, 0o600)
			return nil, fakeqmp.ErrSilence
		}
	}
	_ = fakeqga.Serve(conn, commands)
}
