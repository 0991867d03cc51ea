package main

import (
	"strings"
	"testing"
)

func TestNeed(t *testing.T) {
	labels := map[string]string{
		"gpu": "bmg", "vfs": "24", "kernel": "7.0.0-rc3+deb13", "ram": "62G", "guc": "70.54.0", "lab": "no",
	}
	for need, want := range map[string]bool{
		"": true, "gpu=bmg": true, "gpu!=bmg": false, "gpu=ptl": false, "gpu!=ptl": true, "vfs>=4": true,
		"vfs>=24 vfs<=24 vfs=24": true, "vfs>24": false,
		"vfs<100": true, "vfs>=100": false, "kernel>=6.19": true, "kernel>=7.0": false, "kernel>=7.0-rc3": true,
		"kernel<7.0": true, "kernel>7.0-rc2": true,
		"ram>=64G": false, "ram>=62000M": true, "ram<1T": true, "guc>=70.9": true, "guc=70.54": true, "rack=b7": false,
		"rack!=b7": true, "rack>=1": false,
		"gpu=bmg vfs>=4 lab!=yes": true, "gpu=bmg vfs>=40": false, "nonsense": false, "gpu>=bma": true,
	} {
		if got := len(lacks(need, labels)) == 0; got != want {
			t.Errorf("%q: %v, want %v", need, got, want)
		}
	}
	if got := lacks("vfs>=40 rack=b7 gpu=bmg", labels); strings.Join(
		got, ", ",
	) != "vfs>=40 (it has 24), rack=b7 (it has none)" {
		t.Errorf("%q", got)
	}
	if a, b := canonical("b=1  a=2", "b=1"), canonical("a=2 b=1"); a != b {
		t.Errorf("%q and %q", a, b)
	}
	for _, bad := range []string{"vfs", "vfs>= 4", "VFS>=4", "=4", "vfs==", "a b=1"} {
		if _, err := parseNeed(bad); (err == nil) != (bad == "vfs==") { // "=" is a value, too
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// A requirement that parses gives the same answer for the same labels each time, and compareValues
// is an order.
func FuzzNeed(f *testing.F) {
	f.Add("vfs>=4 kernel>=7.0-rc3", "6.19.0-rc1", "16G")
	f.Add("a!=", "1.2.3.4.5", "99999999999999999999999")
	f.Fuzz(func(t *testing.T, need, a, b string) {
		labels := map[string]string{"vfs": a, "kernel": b, "a": a}
		first := strings.Join(lacks(need, labels), ",")
		if again := strings.Join(lacks(canonical(need), labels), ","); (first == "") != (again == "") {
			t.Errorf("%q: %q, and in its canonical form %q", need, first, again)
		}
		if compareValues(a, b) != -compareValues(b, a) || compareValues(a, a) != 0 {
			t.Errorf("%q and %q: %d, %d", a, b, compareValues(a, b), compareValues(b, a))
		}
		eq, ne := term{"a", "=", b}, term{"a", "!=", b}
		if eq.met(labels) == ne.met(labels) {
			t.Errorf("%q is both = and != %q", a, b)
		}
	})
}
