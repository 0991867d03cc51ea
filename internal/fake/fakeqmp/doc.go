// Package fakeqmp plays QEMU at the other end of a QMP connection, or the peer of any protocol of
// JSON lines, for tests.
//
// A [Peer] either follows a script or serves requests by itself ([Peer.Serve]). A script calls
// [Peer.Next], and then [Peer.Return], [Peer.Fail], [Peer.Event] or [Peer.Send], including messages
// that a real QEMU would not send.
package fakeqmp
