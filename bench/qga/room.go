package qga

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"vmtb/bench"
)

// stdinInline is the largest input in bytes that goes with guest-exec. The agent accepts messages
// of up to 64 MiB.
const stdinInline = 1 << 20

// A room is a private directory in the guest, for data that does not go through guest-exec: large
// input, and output that is needed while the command runs.
type room struct {
	client *Client
	name   string
	path   string
	uses   []string // some of useInput, ...
}

// These are the uses of a room.
const (
	useInput  = "in"
	useStdout = "out"
	useStderr = "err"
	useMerged = "merged" // both streams go through stdout's files
)

func roomUses(cmd bench.Command) (uses []string) {
	if len(cmd.Stdin) > stdinInline {
		uses = append(uses, useInput)
	}
	if cmd.Stdout != nil {
		uses = append(uses, useStdout)
	}
	if cmd.OneStream() {
		uses = append(uses, useMerged)
	} else if cmd.Stderr != nil {
		uses = append(uses, useStderr)
	}
	return uses
}

// prepareScript makes the directory $1 where there is most likely space (/tmp may be in memory). In
// it, it makes a pipe for each of $2... It prints the path.
const prepareScript = `
umask 077
for d in /var/tmp /tmp; do
	mkdir -- "$d/$1" 2>/dev/null && cd -- "$d/$1" && d=$PWD || continue
	shift
	for s; do
		mkfifo "$s.pipe" || exit
	done
	echo "$d"
	exit
done
echo "no directory can be made in /var/tmp or /tmp" >&2
exit 1`

// newRoom makes the room that cmd needs. After an error nothing is left in the guest.
func (c *Client) newRoom(ctx context.Context, cmd bench.Command) (*room, error) {
	r := &room{client: c, name: "vmtb-exec-" + rand.Text(), uses: roomUses(cmd)}
	if err := r.prepare(ctx, cmd.Stdin); err != nil {
		_ = r.remove(ctx) // the first error counts
		return nil, fmt.Errorf("private directory in the guest: %w", err)
	}
	return r, nil
}

func (r *room) prepare(ctx context.Context, input []byte) error {
	rings := slices.DeleteFunc(slices.Clone(r.uses), func(use string) bool {
		return use == useInput || use == useMerged
	})
	script := bench.Command{Argv: append([]string{"/bin/sh", "-c", prepareScript, "sh", r.name}, rings...)}
	result, err := r.client.Exec(ctx, script)
	if err == nil {
		err = result.Err(bench.Command{Argv: []string{"mkdir", r.name}})
	}
	if err != nil {
		return err
	}
	r.path = strings.TrimSpace(string(result.Stdout))
	if slices.Contains(r.uses, useInput) {
		return r.client.WriteFile(ctx, r.path+"/in", input)
	}
	return nil
}

// remove removes the directory, even if ctx has ended.
func (r *room) remove(ctx context.Context) error {
	ctx, cancel := r.client.cleanup(ctx)
	defer cancel()
	rm := bench.Command{Argv: []string{"rm", "-rf", "--", "/var/tmp/" + r.name, "/tmp/" + r.name}}
	result, err := r.client.Exec(ctx, rm)
	if err == nil {
		err = result.Err(rm)
	}
	return err
}
