package run

import (
	"regexp"
	"strings"
	"testing"

	"vmtb/flow"
)

// validPath is the pattern of KCIDB's schema for a path.
var validPath = regexp.MustCompile(`^([a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*)?$`)

// Different parameters of a private flow have different paths. Plain parameters and those of the
// Python tool have no hash.
func TestPathOfParam(t *testing.T) {
	of := func(param string) string {
		return PathName(flow.ID{File: "kdev", Class: "TestK", Case: "test_boot", Param: param})
	}
	seen := map[string]string{}
	for _, param := range []string{
		"6.18", "6-18", "6 18", "6:18", "t:10", "t_10", "(a)b", "ab", "a(b)", "a.b c", "a b.c", "()", "-", "ü", "_",
		"1VF-(P:AUTO S:INFINITE)", "1VF-P_AUTO-S_INFINITE", "1VF-P:AUTO-S:INFINITE", "1VF-(P:AUTO-S:INFINITE)",
		"1VF-(P:AUTO S.INFINITE)",
		"1VF-(P:AUTO S:X)-WL:A.B", "1VF-(P:AUTO S:X)-WL:A-B", "1VF-(P:AUTO S:X)-WL:A B",
	} {
		if path := of(param); seen[path] != "" {
			t.Errorf("%q and %q are both %s", param, seen[path], path)
		}
		seen[of(param)] = param
	}
	const long = "1VF-(P:AUTO S:DEFAULT_PROFILE)-WL:short_preempt-(C:2 R:4)"
	for param, want := range map[string]string{
		"6-18": "6-18", "2VF": "2VF", "2VF-(P:AUTO S:INFINITE)": "2VF-P_AUTO-S_INFINITE",
		"MaxVF-(P:AUTO S:INFINITE)":    "MaxVF-P_AUTO-S_INFINITE",
		long:                           "1VF-P_AUTO-S_DEFAULT_PROFILE-WL_short_preempt-C_2-R_4",
		"1VF-(P:AUTO S:INFINITE)-N:10": "1VF-P_AUTO-S_INFINITE-N_10",
	} {
		if got := of(param); got != "kdev.K.boot."+want {
			t.Errorf("%q is %s, want %s at its end", param, got, want)
		}
	}
}

func TestPathPart(t *testing.T) {
	for in, want := range map[string]string{
		"1VF-(P:AUTO S:DEFAULT_PROFILE)": "1VF-P_AUTO-S_DEFAULT_PROFILE",
		"MR:MigrationToRestore.FIRST":    "MR_MigrationToRestore-FIRST",
		"a=b":                            "a_b-", "a/b": "a_b-", "": "-", "()": "-", "ü": "_-",
	} {
		got := PathPart(in)
		hashed := strings.HasSuffix(want, "-") && strings.HasPrefix(got, want) && len(got) == len(want)+8
		if got != want && !hashed {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
	if PathPart("a=b") == PathPart("a/b") {
		t.Error("two parts are the same")
	}
}

// Names that differ only in a prefix have different paths. So do the phase "restore" and the case
// test_restore. Built-in names, and private names of the usual form, have no hash.
func TestPathOfNames(t *testing.T) {
	seen := map[string]flow.ID{}
	for _, file := range []string{
		"test_basic", "basic", "test_acme", "acme", "vm_state", "test_vm_state", "test_", "test", "test_test_basic",
	} {
		for _, class := range []string{"", "TestK", "K", "Test", "TestTestK"} {
			for _, name := range []string{
				"test_restore", "restore", "restore 2", "test_reset", "reset", "tear-down", "tear-down 2", "test_",
				"test",
				"test_test_reset",
			} {
				id := flow.ID{File: file, Class: class, Case: name, Param: "1VF"}
				path := PathName(id)
				if other, ok := seen[path]; ok || !validPath.MatchString(path) {
					t.Errorf("%s has the path %q of %s", id, path, other)
				}
				seen[path] = id
			}
		}
	}
	for _, c := range []struct{ file, class, name, want string }{
		{"test_basic", "TestVmSetup", "test_vm_boot", "basic.VmSetup.vm_boot"},
		{"vm_state", "TestStates", "test_pause", "vm_state.States.pause"},
		{"acme", "TestClock", "test_clock", "acme.Clock.clock"},
		{"test_acme", "TestClock", "test_clock", "test_acme.Clock.clock"},
		{"test_basic", "TestVmSetup", "tear-down", "basic.VmSetup.tear-down"},
	} {
		if got := PathName(flow.ID{File: c.file, Class: c.class, Case: c.name}); got != c.want {
			t.Errorf("%s::%s::%s is %s, want %s", c.file, c.class, c.name, got, c.want)
		}
	}
}
