// Package qmp is a client of QEMU's machine protocol (QMP), and of the line protocol under it.
//
// Start with [Dial] and [Client.Execute]. [Client.Subscribe] delivers events. [Client.RunJob] runs
// a background command (snapshot-save, snapshot-load, ...) to its end.
//
// # How it works
//
// A connection carries JSON messages, one a line, in both directions. [Lines] owns the connection.
// One goroutine reads, and a lock orders the writes. Each request has its own id, and its reply has
// the same id. So any number of goroutines may have requests in progress. A reply that matches no
// request (late, double, somebody else's) is dropped. The guest agent speaks the same protocol
// without greeting and events, so package bench/qga uses [Lines] too.
//
// [Client] adds the negotiation, and delivers events to subscribers. Each subscriber has an
// unbounded queue. A queue that nobody reads costs memory, but never delays a reply.
//
// # Errors
//
// A refusal by QEMU is an [*Error], a missing answer is a [*TimeoutError], and a failed job is a
// [*JobError]. After the connection has ended, every error matches [ErrClosed] and wraps the cause.
// After a TimeoutError it is unknown whether the command took effect: ask QEMU before you try
// again.
//
// QEMU answers from its main loop. While that is busy (mapping guest memory for VFIO, writing a
// snapshot) it answers nothing, not even queries. The deadlines of the commands that cause it are
// long (see [Options]). A query sent meanwhile may end with a TimeoutError.
package qmp
