// Package keep keeps virtual machines alive after the command that started them has ended. Each
// kept machine has its own process, the keeper. It holds the [vm.VM] and carries out the requests
// of other processes over a socket: see [Run] and [Client].
//
//	vmtb vm start ──spawns──> keeper ──> guard ──> QEMU
//	vmtb vm exec  ──control─────┘
//
// A keeper ends when its machine ends, or when it gets a signal to end. Before that it undoes its
// changes of the host. If a keeper is killed, the guard kills QEMU (see package vm). The other
// changes are then in the journal in the machine's folder.
//
// A [Store] is the directory of kept machines. A machine's folder in it holds machine.json (a
// [Record]), keeper.log, undo.jsonl and the machine's own logs. While the keeper is alive, the
// folder also holds the socket "control".
//
// A connection to the socket is one request: a JSON object (a [request]) on a line, and then the
// operation's input in pieces. The answer is one JSON object a line, each a [message]. The last
// message is the result or an error. A request ends with its connection.
package keep
