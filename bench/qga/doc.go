// Package qga is a client of the QEMU guest agent (qemu-ga): commands and files in a virtual
// machine.
//
// Start with [Dial], [Client.Exec], [Client.ReadFile] and [Client.WriteFile]. [Client.Execute] runs
// every other command of the agent.
//
// # Limits of the agent, and how the client handles them
//
//   - The channel has no connections, so it may hold old or incomplete messages. Before the first
//     command, and after every command without an answer, the client synchronises ([Client.Sync]):
//     it sends a random number and waits until that number comes back.
//   - The agent reports the end of a process once, and forgets it. A [Process] keeps it, and never
//     abandons its question while the answer may arrive.
//   - The agent returns output after the process has ended, 16 MiB of each stream at most.
//     [bench.Result] reports whether there was more. A stream with a writer in the [bench.Command]
//     goes through files in a private directory of the guest, at most 16 MiB at a time. The client
//     reads them while the command runs, and removes them at the end. The guest needs mkfifo, dd,
//     sleep and rm for that.
//   - Input of more than 1 MiB goes through a file, too.
//   - guest-file-write reports success for writes that fail. The error comes with the flush or the
//     close. WriteFile does both.
//   - An environment passed to guest-exec replaces the agent's own, and guest-exec has no working
//     directory. The client reads the agent's environment once and adds to it. It uses /bin/sh to
//     change the directory.
//   - To kill processes, the client finds them by a variable in their environment, which their
//     descendants inherit.
//   - guest-shutdown and guest-suspend-* answer only if they fail.
//
// # Errors
//
// A refusal is a [*qmp.Error], or a [*CommandDisabled] if the agent does not offer the command. A
// missing answer is a [*qmp.TimeoutError]. If its Cmd is "guest-sync-delimited", the agent does not
// run (not started yet, hung, or the machine is paused). Failed file operations are [*fs.PathError]
// around the guest's errno. After the connection has ended, because QEMU has ended, errors match
// [qmp.ErrClosed].
package qga
