// Command vmtb-fleet runs flows on many machines under test (DUTs). It is a queue with results on
// NATS JetStream: "serve" runs the engine, "agent" runs on each DUT and runs vmtb as a child,
// "submit", "watch" and "fetch" are for people and CI. It installs no kernel and drives no console:
// where a DUT must first be given a kernel, LAVA runs vmtb, or boots the machine and starts its
// agent.
//
// # Words
//
// A unit is a class with a parameter, the smallest part of a run that a DUT takes. A run is all
// units of one submit. An attempt is one DUT's work on a unit. A pool is all units with the same
// requirement. It is a consumer of the queue, and the consumer's description is the requirement.
//
// # The way of a unit
//
//	submit -> queue -> an agent fetches it -> claim -> vmtb run or resume -> upload -> result -> ack
//
// A claim is a lease in the key-value store, and its revision is the fencing token: only the agent
// that knows the newest revision can extend the claim. Each heartbeat extends the claim and the
// delivery of the message. The first result of a unit counts. Later results are kept as extra
// attempts.
//
// An agent keeps the state of its attempt in its spool until the result is stored. It needs no
// orderly end: it may be killed at any time, and its next start continues from the spool.
package main
