package flow

import (
	"strings"
	"testing"
)

func TestKeyword(t *testing.T) {
	const id = "test_basic::TestVmSetup::test_vm_boot[2VF-(P:AUTO S:INFINITE)]"
	for expression, want := range map[string]bool{
		"boot": true, "BOOT": true, "reload": false, "not reload": true, "not boot": false, "not not boot": true,
		"boot and 2vf": true, "boot and 1vf": false, "boot or 1vf": true, "x or y or auto": true,
		"x and boot or 2vf": true, "x and (boot or 2vf)": false, "not x and boot": true, "not (x or boot)": false,
		"not(x)and(boot)": true,
		`"AUTO S:INF"`:    true, `'P:AUTO' and 'S:FIXED'`: false, `"and" or boot`: true, `"or"`: false,
		"android or boot": true, "[2VF-": true,
	} {
		k, err := ParseKeyword(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
		} else if got := k.Match(id); got != want {
			t.Errorf("%s: %v, want %v", expression, got, want)
		}
	}
	for expression, says := range map[string]string{
		"": "a word is missing", "  ": "a word is missing", "and": "a word is missing", "boot and": "a word is missing",
		"not":   "a word is missing",
		"(boot": "a parenthesis is not closed", "boot)": `unexpected ")"`,
		"boot reload": `unexpected "reload"`, "()": "a word is missing",
		`"boot`: "no closing quote", `''`: "is empty", strings.Repeat("not ", 200) + "x": "too deep",
		strings.Repeat("(", 5000): "too deep",
	} {
		if _, err := ParseKeyword(expression); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.20s: %v, want %q", expression, err, says)
		}
	}
}

func FuzzKeyword(f *testing.F) {
	f.Add("a and (b or not 'c d')", "abc")
	f.Add("((((", "")
	f.Fuzz(func(t *testing.T, expression, id string) {
		k, err := ParseKeyword(expression)
		if err != nil {
			return
		}
		not, err := ParseKeyword("not (" + expression + ")")
		if err == nil && k.Match(id) == not.Match(id) {
			t.Errorf("%q and its opposite are both %v of %q", expression, k.Match(id), id)
		}
	})
}
