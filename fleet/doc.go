// Command vmtb-fleet runs flows on many machines under test (DUTs). It is a queue with results on
// NATS JetStream: "serve" runs the engine, "agent" runs on each DUT and runs vmtb as a child,
// "submit", "watch" and "fetch" are for people and CI. It installs no kernel and drives no console:
// where a DUT must first be given a kernel, LAVA runs vmtb, or boots the machine and lets its agent
// come.
//
// # Words
//
// A unit is a class with a parameter, the least that a DUT runs in one go. A run is what was
// submitted at once. An attempt is one DUT's go at a unit. A pool is all units with the same
// requirement.
//
// # The way of a unit
//
//	submit -> UNITS (work queue) -> an agent fetches one -> claim (compare and set) -> vmtb run or resume -> object store -> result -> ack
//
// A claim is a lease. Its revision in the key-value store is the fencing token: only who knows the
// newest one may extend it. Each heartbeat extends the claim and the delivery of the message.
// Whoever comes first with a result has the result of the unit; what others bring later is kept as
// an extra attempt. All that an agent must not forget is in its spool, on disk, until the message
// is acknowledged.
//
//	             lease lapsed            two DUTs lost
//	queued ----> claimed --> claimed by another --> result "incomplete"
//	               | ^  DUT comes back in time: resumed there
//	               v |
//	             result --> acknowledged
package main
