// Package keep keeps virtual machines beyond the command that started them. Each kept machine has a
// process of its own, the keeper, which holds the [vm.VM] and does to it what other processes ask
// for over a socket; see [Run] and [Client].
//
//	vmtb vm start ──spawns──> keeper ──> guard ──> QEMU
//	vmtb vm exec  ──control─────┘
//
// A keeper ends when its machine does, or is told to, and puts back what it has changed on the
// host. Should it be killed, the guard kills QEMU (see package vm), and what else is left is in the
// journal of host changes in the machine's folder.
//
// A [Store] is the directory of kept machines. A machine's folder in it holds machine.json (a
// [Record]), keeper.log, undo.jsonl, the machine's own logs, and while the keeper lives the socket
// "control". A connection to it is one request: a JSON object (a [request]) on a line, and then the
// operation's input in pieces. The answer is one JSON object a line, each a [message]; the last one
// is the result or an error. A request ends with its connection.
package keep
