// Package benchtest tests that a [bench.Machine] does what the interface says, the same for the
// host and for a guest. It is for tests only:
//
//	func TestMachine(t *testing.T) { benchtest.Machine(t, host.New(host.OS{})) }
package benchtest
