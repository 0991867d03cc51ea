// Package qmp is a client of QEMU's machine protocol (QMP), and of the line protocol under it.
//
// Start with [Dial] and [Client.Execute]; [Client.Subscribe] gives events, [Client.RunJob] runs the
// commands that go on in the background (snapshot-save, snapshot-load, ...) to their end.
//
// # How it works
//
// A connection carries JSON messages, one a line, in both directions. [Lines] owns it: one
// goroutine reads, one lock orders the writes, and each request has an id of its own by which its
// reply is found, so any number of goroutines may have requests under way at once. A reply to
// nobody (late, double, somebody else's) is dropped. The guest agent speaks the same protocol
// without greeting and events, so package bench/qga stands on [Lines] too.
//
// On top of it [Client] negotiates, and hands events to subscribers.
// Subscribers have queues of their own without bound: one that is never drained costs memory, and never delays a reply.
//
// # Errors
//
// A refusal by QEMU is an [*Error], no answer in time a [*TimeoutError], a job that failed a
// [*JobError]; everything after the end of the connection is an error matching [ErrClosed] that
// wraps the cause. Whoever gets a TimeoutError does not know whether the command took effect: ask
// QEMU before trying again.
//
// QEMU answers from its main loop. While that is busy (mapping guest memory for VFIO, writing a
// snapshot) it answers nothing at all, queries included. The deadlines of the commands that cause
// it are long (see [Options]); the caller of a query meanwhile has to expect a TimeoutError.
package qmp
