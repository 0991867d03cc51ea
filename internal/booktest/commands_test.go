package booktest

import (
	"slices"
	"testing"
)

func TestIn(t *testing.T) {
	const text = `vmtb in prose
` + "```sh" + `
vmtb list                 # all
$ vmtb run -v 'a[1VF]' ... # more
not a command
` + "```" + `
    bin/vmtb list
    cd /tmp && vmtb list
    make demo
    - vmtb run || true
    sh 'vmtb run x'
    sh 'vmtb run x'  # in a shell
vmtb in prose
`
	want := []Command{
		{Line: 3, Text: "vmtb list"},
		{Line: 4, Text: "vmtb run -v 'a[1VF]'"},
		{Line: 7, Text: "vmtb list"},
		{Line: 8, Text: "cd /tmp && vmtb list"},
		{Line: 9, Text: "make demo"},
		{Line: 10, Text: "vmtb run || true"},
		{Line: 11, Text: "vmtb run x"},
		{Line: 12, Text: "vmtb run x"},
	}
	if got := in(text); !slices.Equal(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
}
