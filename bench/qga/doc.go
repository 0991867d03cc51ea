// Package qga is a client of the QEMU guest agent (qemu-ga): commands and files in a virtual
// machine.
//
// Start with [Dial], [Client.Exec], [Client.ReadFile] and [Client.WriteFile]; [Client.Execute]
// reaches every other command of the agent.
//
// # The agent's ways, and what is done about them
//
//   - The channel knows no connections: what is in it may be old, and half a message. Before the first command and
//     after every command that got no answer the client synchronises ([Client.Sync]): it sends a random number and goes
//     on when that number comes back.
//   - The agent tells the end of a process once, and forgets it. A [Process] keeps it, and its question is never
//     abandoned while the answer may be on its way.
//   - Output comes after the end, 16 MiB of each stream at most; [bench.Result] reports whether
//     there was more. A stream with a writer in the [bench.Command] goes through files in a private
//     directory of the guest, at most 16 MiB at a time. The client reads them while the command
//     runs, and removes them at the end. The guest needs mkfifo, dd, sleep and rm for that.
//   - Input of more than 1 MiB goes through a file, too.
//   - guest-file-write says yes to writes that fail; the error comes with the flush, or with the close. WriteFile does
//     both.
//   - An environment given to guest-exec takes the place of the agent's own, and there is no working directory. The
//     client reads the agent's environment once and adds to it, and asks /bin/sh to change the directory.
//   - Processes that are to be killed are found by a variable in their environment, which their descendants inherit.
//   - guest-shutdown and guest-suspend-* answer only if they fail.
//
// # Errors
//
// A refusal is a [*qmp.Error], or [*CommandDisabled] when the agent does not offer the command; no answer in time is a
// [*qmp.TimeoutError]: with Cmd "guest-sync-delimited" the agent is not there at all (not started yet, hung, or the
// machine is paused). Failed file operations are [*fs.PathError] around the guest's errno. After the end of the
// connection, which is the end of QEMU, errors match [qmp.ErrClosed].
package qga
