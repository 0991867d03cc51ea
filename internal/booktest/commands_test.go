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
    make demo
    - vmtb run || true
    sh 'vmtb run x'
    sh 'vmtb run x'  # in a shell
vmtb in prose
`
	want := []Command{
		{Line: 3, Text: "vmtb list"},
		{Line: 4, Text: "vmtb run -v 'a[1VF]'"},
		{Line: 7, Text: "make demo"},
		{Line: 8, Text: "vmtb run || true"},
		{Line: 9, Text: "vmtb run x"},
		{Line: 10, Text: "vmtb run x"},
	}
	if got := in(text); !slices.Equal(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
}
