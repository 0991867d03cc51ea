package flow

import "strings"

// An ID names one case with one parameter. Class is "" for a case without a class. Param is "" for
// a case without a parameter. Case is "" in the id of a class's fixture.
type ID struct {
	File  string `json:"file"`
	Class string `json:"class,omitempty"`
	Case  string `json:"case,omitempty"`
	Param string `json:"param,omitempty"`
}

// String returns the canonical form, "test_basic::TestVmSetup::test_vm_boot[1VF-(P:AUTO
// S:INFINITE)]".
func (id ID) String() string { return id.join(id.File) }

// ResultsKey returns the key in results.json, "vmtb@test_basic.py::TestVmSetup::test_vm_boot[...]".
func (id ID) ResultsKey() string { return "vmtb@" + id.join(id.File+".py") }

// Fixture returns the id of the fixture that serves this case. A case without a class has a fixture
// of its own: both have the same id.
func (id ID) Fixture() ID {
	if id.Class != "" {
		id.Case = ""
	}
	return id
}

func (id ID) join(file string) string {
	var b strings.Builder
	b.WriteString(file)
	for _, part := range []string{id.Class, id.Case} {
		if part != "" {
			b.WriteString("::" + part)
		}
	}
	if id.Param != "" {
		b.WriteString("[" + id.Param + "]")
	}
	return b.String()
}
