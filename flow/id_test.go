package flow

import "testing"

// Cases of a class with one parameter share a fixture. A case without a class has a fixture of its
// own.
func TestFixtureID(t *testing.T) {
	x, y := ID{"f", "C", "x", "p"}, ID{"f", "C", "y", "p"}
	if x.Fixture() != y.Fixture() || x.Fixture().String() != "f::C[p]" {
		t.Errorf("fixtures %s and %s of a class, want f::C[p] of both", x.Fixture(), y.Fixture())
	}
	x.Class, y.Class = "", ""
	if x.Fixture() != x || x.Fixture() == y.Fixture() {
		t.Errorf("fixtures %s and %s of functions, want one of each", x.Fixture(), y.Fixture())
	}
}
