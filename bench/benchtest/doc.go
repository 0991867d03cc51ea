// Package benchtest tests that a [bench.Machine] behaves as the interface says. Hosts and guests
// pass the same tests. It is for tests only:
//
//	func TestMachine(t *testing.T) { benchtest.Machine(t, host.New(host.OS{})) }
package benchtest
