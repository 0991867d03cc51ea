// Package fakeqmp plays QEMU at the other end of a QMP connection, or the peer of any protocol of
// JSON lines, for tests.
//
// A [Peer] either follows a script ([Peer.Next], then [Peer.Return], [Peer.Fail], [Peer.Event], [Peer.Send]: whatever
// the test wants the client to suffer) or serves on its own ([Peer.Serve]).
package fakeqmp
