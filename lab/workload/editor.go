package main

import (
	"fmt"
	"io"
)

// editorName is that of an editor, which a flow leaves running in a machine that it saves.
const editorName = "vim"

// edit is an editor in which nobody types: it waits until its input ends.
func (s system) edit() int {
	fmt.Fprintf(s.stdout, "%s: %s, which edits nothing\n", editorName, notice)
	if _, err := io.Copy(io.Discard, s.stdin); err != nil {
		fmt.Fprintf(s.stderr, "%s (%s): %v\n", editorName, notice, err)
		return exitError
	}
	return exitSuccess
}
