package contract

import (
	"fmt"
	"io"
	"strings"
)

// WriteMarkdown writes the table of rules to w.
func WriteMarkdown(w io.Writer, sections []Section) error {
	sightings, err := Sightings()
	if err != nil {
		return err
	}
	var b strings.Builder
	rules := 0
	for _, s := range sections {
		rules += len(s.Rules)
	}
	fmt.Fprintf(&b, preface, rules)
	for _, seen := range sightings {
		fmt.Fprintf(&b, "- `%s`: %s %d rules\n", seen.Driver, seen.About, len(seen.Rules))
	}
	for _, s := range sections {
		fmt.Fprintf(
			&b,
			"\n## %s\n\n`xe_contract::%s`\n\n| Rule | Promise | Seen on | Checked by |\n|---|---|---|---|\n",
			s.Title, s.Name,
		)
		for _, r := range s.Rules {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.ID, r.promise(), seenOn(sightings, r.ID), r.checkedBy())
		}
	}
	_, err = io.WriteString(w, b.String())
	return err
}

const preface = `# The contract of xe

The parts of the Linux xe driver's SR-IOV interface that vmtb relies on: %d
rules. This file is made from package bench/xe/contract by
` + "`go test ./bench/xe/contract -update`" + `. The same table is checked against the fake host of the
unit tests, and against a running kernel by the flow ` + "`xe_contract`" + `, which is vmtb's own and not the
Python tool's:

    vmtb lab run --migration xe_contract    # the lab's emulated GPU
    vmtb run xe_contract                    # this machine; skips rules that harm it (see allow_destructive)

` + "`P/`" + ` is the PF in /sys/bus/pci/devices, ` + "`A/`" + ` its sriov_admin, ` + "`D/`" + ` the PF in
/sys/kernel/debug/dri, ` + "`V1/` VF1" + ` in /sys/bus/pci/devices, ` + "`D1/`" + ` VF1 in /sys/kernel/debug/dri.
` + "`T/vf1/`" + ` are the debugfs files of VF1 that belong to a tile, ` + "`G/vf1/`" + ` those of every GT,
` + "`G0/`" + ` and ` + "`G1/`" + ` of one GT, in whichever layout the kernel has. ` + "`file ← value: errno`" + `
is a write and its result. Each rule begins without VFs, in automatic mode, with nothing set.

"Seen on" names the drivers on which a rule was seen to hold. Other rules are from the driver's source.

`

func (r Rule) promise() string {
	text := r.Doc
	if r.Unverified != "" {
		text += " Not seen in the driver's source: " + r.Unverified + "."
	}
	var needs []string
	for _, n := range r.Needs {
		needs = append(needs, n.Name)
	}
	if len(needs) > 0 {
		text += " *Needs " + strings.Join(needs, ", ") + ".*"
	}
	if r.Destructive != "" {
		text += " **Destructive: " + r.Destructive + ".**"
	}
	if r.Crashes != "" {
		text += " **Crashes kernels: " + r.Crashes + ". Checked only if asked for by name, with --destructive.**"
	}
	return cell(text)
}

func (r Rule) checkedBy() string {
	var steps []string
	for _, s := range r.Steps {
		steps = append(steps, s.String())
	}
	if r.Check != nil {
		steps = append(steps, "a function")
	}
	return cell(strings.Join(steps, "<br>"))
}

func cell(text string) string { return strings.ReplaceAll(text, "|", "\\|") }
